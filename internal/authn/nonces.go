// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"fmt"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// maxNonces bounds what is remembered for one bucket and generation: 68 requests
// a second for each admin, and as many for all of an admin's sessions together.
const maxNonces = 8192

// generation is how long a generation takes in new nonces. A request can be
// replayed for 2 × Skew at most, from Skew before the server's clock to Skew
// after it; a nonce stays for one to two generations.
const generation = 2 * Skew

// bucketKey separates what an admin does with the authority key from what comes
// with its session keys, and admins from each other: a stolen session that fills
// its bucket keeps nobody from revoking it.
type bucketKey struct {
	key     wire.Hash // the authority key's
	session bool
}

// nonces remembers nonces against replay, in bounded memory. Age is measured by
// the boot clock; should the wall clock be set back, what was dropped stays
// refused by its time of issue.
type nonces struct {
	clock clock.Clock

	mu      sync.Mutex
	buckets map[bucketKey]*bucket
}

type bucket struct {
	started       time.Duration // boot time at which current began
	current, last map[[16]byte]struct{}
	// The newest time of issue in each generation, Unix milliseconds, and in all
	// that was dropped.
	newestCurrent, newestLast, floor int64
}

func newNonces(clk clock.Clock) *nonces {
	return &nonces{clock: clk, buckets: map[bucketKey]*bucket{}}
}

// use accepts a nonce once. Only verified signers get here, so the number of
// buckets is bounded by the number of authority keys.
func (n *nonces) use(key bucketKey, nonce [16]byte, issued int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.buckets[key]
	if b == nil {
		b = &bucket{started: n.clock.Boot(), current: map[[16]byte]struct{}{}}
		n.buckets[key] = b
	}
	b.age(n.clock.Boot())
	_, now := b.current[nonce]
	_, before := b.last[nonce]
	if now || before || issued <= b.floor {
		return refused("request was used before")
	}
	if len(b.current) >= maxNonces {
		return fmt.Errorf("%w: %w", ErrRefused, ErrBusy)
	}
	b.current[nonce] = struct{}{}
	b.newestCurrent = max(b.newestCurrent, issued)
	return nil
}

// age drops what is older than a whole generation.
func (b *bucket) age(boot time.Duration) {
	for range 2 {
		if boot-b.started < generation {
			return
		}
		b.floor = max(b.floor, b.newestLast)
		b.last, b.newestLast = b.current, b.newestCurrent
		b.current, b.newestCurrent = map[[16]byte]struct{}{}, 0
		b.started += generation
	}
	// Idle for longer: both generations are gone, and the next begins now.
	b.started = max(b.started, boot)
}
