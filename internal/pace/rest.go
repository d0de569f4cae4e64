// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"sync"
	"time"
)

// Rests of [Rest].
const (
	FirstRest = 2 * time.Second // the longest after one failure
	MostRest  = time.Minute     // the longest however many failed in a row
)

// Rest is how long somebody who has something to go on with asks no more, after
// nobody answered. The zero value asks. It is safe for concurrent use.
type Rest struct {
	mu    sync.Mutex
	until time.Duration
	pause time.Duration // the rule's, of the rest that runs
}

// Over reports whether it may be asked at a moment of the caller's clock.
func (r *Rest) Over(now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now >= r.until
}

// Failed begins a rest: up to 2 s, and up to twice as long after each further
// failure, to a minute.
func (r *Rest) Failed(now time.Duration, draw Draw) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pause = Next(r.pause, MostRest); r.pause == 0 {
		r.pause = FirstRest
	}
	r.until = now + Pause(r.pause, draw)
}

// Worked ends it: somebody answered.
func (r *Rest) Worked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until, r.pause = 0, 0
}

// Turn lets one at a time do something in passing that can wait, and after a failure
// nobody for a while. The zero value lets the first. It is safe for concurrent use.
type Turn struct {
	mu    sync.Mutex
	taken bool
	from  time.Duration
}

// Take reports whether the caller has the turn at a moment of its clock; if so, it
// calls Done.
func (t *Turn) Take(now time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken || now < t.from {
		return false
	}
	t.taken = true
	return true
}

// Done gives the turn back; nobody gets it before from.
func (t *Turn) Done(from time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken, t.from = false, from
}
