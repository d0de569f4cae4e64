// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math/bits"
	"time"
)

// Histogram counts times in buckets whose width is at most 1/32 of the time, so
// that it takes no more room however many are noted. The zero value is empty. It
// isn't safe for concurrent use: each connection has its own, and they are added.
type Histogram struct {
	counts [64 * buckets]uint64
	count  uint64
	most   time.Duration
}

const (
	buckets   = 1 << precision // for each power of two
	precision = 5
)

// bucket numbers the times without a gap: below 2^precision one for each
// nanosecond, above it buckets for each doubling.
func bucket(ns uint64) int {
	if ns < buckets {
		return int(ns)
	}
	shift := bits.Len64(ns) - precision - 1
	return shift<<precision + int(ns>>shift)
}

// upper is the longest time that falls in a bucket.
func upper(b int) time.Duration {
	if b < buckets {
		return time.Duration(b)
	}
	shift := b>>precision - 1
	return time.Duration(uint64(b&(buckets-1)|buckets)+1)<<shift - 1
}

// Note counts one time.
func (h *Histogram) Note(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.count++
	h.most = max(h.most, d)
}

// Add counts what the other one counted.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.count += o.count
	h.most = max(h.most, o.most)
}

// Count is how many times were noted.
func (h *Histogram) Count() uint64 { return h.count }

// Quantile returns a time that the given share of the noted ones does not exceed,
// too long by at most 1/32; 0 when none was noted.
func (h *Histogram) Quantile(share float64) time.Duration {
	want := uint64(share*float64(h.count) + 0.5)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= want {
			return min(upper(i), h.most)
		}
	}
	return h.most
}
