// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"fmt"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Bounds of what is remembered against replay.
const (
	maxSeen    = 1 << 20  // requests, about 50 bytes each
	maxAnswers = 64 << 20 // bytes of answers
	// replayMargin is how long a request is remembered beyond its not-after.
	// Steps of the wall clock back by more than clockStep void it altogether
	// (identity.refresh), so smaller ones are all that the margin has to cover.
	replayMargin = 5 * time.Second
)

// replays remembers each verified request until its not-after has gone by on the
// boot clock, which nobody sets, and the newest answers, so that a retry gets
// the same bytes and nothing is decided or logged twice.
type replays struct {
	clock clock.Clock
	most  int // requests remembered at once
	bytes int // of answers held at once

	mu      sync.Mutex
	running map[wire.Hash]bool
	seen    map[wire.Hash]bool
	due     map[int64][]wire.Hash // by the boot second from which they are forgotten
	answers map[wire.Hash]heldAnswer
	ring    []wire.Hash // of answers, in the order of answering
	size    int
}

// heldAnswer is an answer and the epoch that it speaks for.
type heldAnswer struct {
	epoch  wire.Epoch
	answer []byte
}

func newReplays(c clock.Clock) *replays {
	return &replays{
		clock: c, most: maxSeen, bytes: maxAnswers, running: map[wire.Hash]bool{}, seen: map[wire.Hash]bool{},
		due: map[int64][]wire.Hash{}, answers: map[wire.Hash]heldAnswer{},
	}
}

// begin takes a request in. A repeat returns the answer if it is held and the
// log's head is still where it was; ErrBusy while the first one runs; otherwise
// ErrRefused, and the client asks anew. Whoever gets neither answer nor error
// calls finish.
func (r *replays) begin(id wire.Hash, now wire.Epoch) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	switch held, ok := r.answers[id]; {
	case ok && held.epoch == now:
		return held.answer, nil
	case r.seen[id]:
		return nil, fmt.Errorf("%w: this request was made before; make a new one", ErrRefused)
	case r.running[id]:
		return nil, fmt.Errorf("%w: this request is being answered", ErrBusy)
	case len(r.seen)+len(r.running) >= r.most:
		return nil, ErrBusy
	}
	r.running[id] = true
	return nil, nil
}

// verified notes that a running request is genuine and how long it would be
// good for: only such requests take room for longer than they run.
func (r *replays) verified(id wire.Hash, left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[id] && !r.seen[id] {
		r.seen[id] = true
		end := int64((r.clock.Boot() + left + replayMargin) / time.Second)
		r.due[end+1] = append(r.due[end+1], id)
	}
}

// finish keeps the answer, or forgets a request that ended without one so that
// the same bytes may be tried again.
func (r *replays) finish(id wire.Hash, answer []byte, epoch wire.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, id)
	if answer == nil {
		delete(r.seen, id)
		return
	}
	if !r.seen[id] {
		return
	}
	r.answers[id] = heldAnswer{epoch, answer}
	r.ring = append(r.ring, id)
	r.size += len(answer)
	for r.size > r.bytes {
		r.drop(r.ring[0])
		r.ring = r.ring[1:]
	}
}

func (r *replays) drop(id wire.Hash) {
	r.size -= len(r.answers[id].answer)
	delete(r.answers, id)
}

// sweep forgets what can't be replayed any more. Its cost is that of the
// seconds that are remembered, about seventy, and of what it forgets.
func (r *replays) sweep() {
	now := int64(r.clock.Boot() / time.Second)
	for second, ids := range r.due {
		if second > now {
			continue
		}
		for _, id := range ids {
			delete(r.seen, id)
			r.drop(id)
		}
		delete(r.due, second)
	}
	for len(r.ring) > 0 && r.answers[r.ring[0]].answer == nil {
		r.ring = r.ring[1:]
	}
}
