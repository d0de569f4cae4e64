// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"errors"
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
	// (keyserver's identity), so smaller ones are all that the margin has to cover.
	replayMargin = 5 * time.Second
)

// ErrRepeat means that the request was answered and the answer is gone, or the
// log has moved since.
var ErrRepeat = errors.New("this request was made before; make a new one")

// Replays remembers each verified request until its not-after has gone by on the
// boot clock, which nobody sets, and the newest answers, so that a retry gets
// the same bytes and nothing is decided or logged twice.
type Replays struct {
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
	swept   int64 // boot second of the last sweep
}

// heldAnswer is an answer and the epoch that it speaks for.
type heldAnswer struct {
	epoch  wire.Epoch
	answer []byte
}

// NewReplays returns a memory with the bounds of a server.
func NewReplays(c clock.Clock) *Replays {
	return &Replays{
		clock: c, most: maxSeen, bytes: maxAnswers, running: map[wire.Hash]bool{}, seen: map[wire.Hash]bool{},
		due: map[int64][]wire.Hash{}, answers: map[wire.Hash]heldAnswer{},
	}
}

// Begin takes a request in. A repeat returns the answer if it is held and the
// log's head is still where it was; ErrBusy while the first one runs; otherwise
// ErrRepeat, and the client asks anew. Whoever gets neither answer nor error
// calls Finish.
func (r *Replays) Begin(id wire.Hash, now wire.Epoch) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	switch held, ok := r.answers[id]; {
	case ok && held.epoch == now:
		return held.answer, nil
	case r.seen[id]:
		return nil, ErrRepeat
	case r.running[id]:
		return nil, fmt.Errorf("%w: this request is being answered", ErrBusy)
	case len(r.seen)+len(r.running) >= r.most:
		return nil, ErrBusy
	}
	r.running[id] = true
	return nil, nil
}

// Verified notes that a running request is genuine and how long it would be
// good for: only such requests take room for longer than they run.
func (r *Replays) Verified(id wire.Hash, left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[id] && !r.seen[id] {
		r.seen[id] = true
		end := int64((r.clock.Boot() + left + replayMargin) / time.Second)
		r.due[end+1] = append(r.due[end+1], id)
	}
}

// Finish keeps the answer, or forgets a request that ended without one so that
// the same bytes may be tried again.
func (r *Replays) Finish(id wire.Hash, answer []byte, epoch wire.Epoch) {
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

func (r *Replays) drop(id wire.Hash) {
	r.size -= len(r.answers[id].answer)
	delete(r.answers, id)
}

// sweep forgets what can't be replayed any more, once a second. Its cost is that
// of the seconds that are remembered, about seventy, and of what it forgets.
func (r *Replays) sweep() {
	now := int64(r.clock.Boot() / time.Second)
	if now == r.swept {
		return
	}
	r.swept = now
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
