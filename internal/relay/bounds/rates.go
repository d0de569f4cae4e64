// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"sync"
	"time"
)

// Rates are token buckets, one a key. Safe for concurrent use.
type Rates[K comparable] struct {
	rate, burst float64

	mu    sync.Mutex
	full  map[K]bucket
	swept time.Duration
}

// bucket holds what is left at a time.
type bucket struct {
	left float64
	at   time.Duration
}

// NewRates makes buckets that hold burst and fill by rate a second.
func NewRates[K comparable](rate float64, burst int) *Rates[K] {
	return &Rates[K]{rate: rate, burst: float64(burst), full: map[K]bucket{}}
}

// Take reports whether one more is allowed at a boot time.
func (r *Rates[K]) Take(k K, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	b := r.now(k, now)
	if b.left < 1 {
		return false
	}
	b.left--
	r.full[k] = b
	return true
}

// Refund gives back what was taken for something that turned out to be wanted.
func (r *Rates[K]) Refund(k K, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.now(k, now)
	b.left = min(b.left+1, r.burst)
	r.full[k] = b
}

func (r *Rates[K]) now(k K, now time.Duration) bucket {
	b, ok := r.full[k]
	if !ok {
		return bucket{r.burst, now}
	}
	return bucket{min(b.left+r.rate*(now-b.at).Seconds(), r.burst), now}
}

// sweep drops those that have filled up again: what is kept is bounded by what
// came within the time that a bucket takes to fill.
func (r *Rates[K]) sweep(now time.Duration) {
	if now-r.swept < time.Second {
		return
	}
	r.swept = now
	for k, b := range r.full {
		if b.left+r.rate*(now-b.at).Seconds() >= r.burst {
			delete(r.full, k)
		}
	}
}
