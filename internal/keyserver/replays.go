// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"fmt"
	"sync"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Bounds of what is remembered against replay.
const (
	maxSeen    = 1 << 20  // requests, about 50 bytes each
	maxAnswers = 64 << 20 // bytes of answers
)

// replays remembers each sealed request until its not-after, and the newest
// answers, so that a retry gets the same bytes and nothing is decided or logged
// twice.
type replays struct {
	clock clock.Clock
	mu    sync.Mutex
	seen  map[wire.Hash]*seenRequest
	ring  []wire.Hash // in the order of answering
	size  int
	swept int64
}

type seenRequest struct {
	notAfter int64 // Unix milliseconds
	epoch    wire.Epoch
	answer   []byte // nil: running, or no longer held
}

func newReplays(c clock.Clock) *replays {
	return &replays{clock: c, seen: map[wire.Hash]*seenRequest{}}
}

// begin takes a request in. A repeat returns the answer if it is held and the
// log's head has not moved; otherwise ErrRefused, and the client asks anew.
func (r *replays) begin(id wire.Hash, notAfter int64, now wire.Epoch) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	if have := r.seen[id]; have != nil {
		if have.answer != nil && have.epoch == now {
			return have.answer, nil
		}
		return nil, fmt.Errorf("%w: this request was made before; make a new one", ErrRefused)
	}
	if len(r.seen) >= maxSeen {
		return nil, ErrBusy
	}
	r.seen[id] = &seenRequest{notAfter: notAfter}
	return nil, nil
}

// finish keeps the answer, or forgets a request that ended without one so that
// the same bytes may be tried again.
func (r *replays) finish(id wire.Hash, answer []byte, epoch wire.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.seen[id]
	if have == nil {
		return
	}
	if answer == nil {
		delete(r.seen, id)
		return
	}
	have.answer, have.epoch = answer, epoch
	r.ring = append(r.ring, id)
	r.size += len(answer)
	for r.size > maxAnswers {
		r.dropOldest()
	}
}

func (r *replays) dropOldest() {
	if old := r.seen[r.ring[0]]; old != nil {
		r.size -= len(old.answer)
		old.answer = nil
	}
	r.ring = r.ring[1:]
}

// sweep forgets what has expired, at most once a second.
func (r *replays) sweep() {
	now := r.clock.Now().UnixMilli()
	if now-r.swept < 1000 && now >= r.swept {
		return
	}
	r.swept = now
	for id, s := range r.seen {
		if s.notAfter < now {
			r.size -= len(s.answer)
			delete(r.seen, id)
		}
	}
	for len(r.ring) > 0 && r.seen[r.ring[0]] == nil {
		r.ring = r.ring[1:]
	}
}
