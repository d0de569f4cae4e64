// SPDX-License-Identifier: Apache-2.0

package hearsay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Errors of [Hearsay.Err].
var (
	ErrBehind = errors.New("the store is behind what a server has stated")
	ErrFork   = errors.New("two histories of the authority log exist")
)

// Kinds of alarms.
const (
	AlarmBehind = "behind"
	AlarmFork   = "fork"
)

// Log is the authority log as this server's store gives it.
type Log interface {
	View(func(*authority.State))
	Refresh(ctx context.Context) error
}

// Options of a Hearsay. All are required.
type Options struct {
	Dir    string // of proofs; made when there is one
	Domain wire.DomainID
	Log    Log
	Clock  clock.Clock
	Every  time.Duration // between two statements
	// Own signs this server's word on one of its records, for a proof.
	Own   func(wire.Epoch, wire.Hash) ([]byte, error)
	Alarm func(kind, what string)
}

// Hearsay is what others say of the log. It is safe for concurrent use.
type Hearsay struct {
	o    Options
	news chan struct{}

	mu     sync.Mutex
	first  *word // the eldest that is ahead
	newest *word // and the newest
	told   bool  // the alarm over first was raised
	forks  []word
}

// word is a verified statement and when it was heard first.
type word struct {
	wire.Statement
	signed []byte
	at     time.Duration // boot time
}

// verdict on a statement.
type verdict int

const (
	nothing verdict = iota
	ahead
	forked
)

// judge compares a statement with the log.
func judge(st *authority.State, s *wire.Statement) verdict {
	switch {
	case st.On(s.Epoch, s.Head), s.Epoch.Generation < st.Epoch.Generation:
		return nothing
	case s.Epoch.Compare(st.Epoch) > 0:
		return ahead
	}
	return forked
}

// News says that a Look is worth it.
func (h *Hearsay) News() <-chan struct{} { return h.news }

// Hear takes a signed statement that anyone may have brought. What can't be
// believed is passed over.
func (h *Hearsay) Hear(signed []byte) {
	if len(signed) == 0 {
		return
	}
	s, err := wire.PeekStatement(signed)
	if err != nil || s.Domain != h.o.Domain {
		return
	}
	v := h.judge(s)
	if v == nothing || h.known(s.Server, v, s.Epoch) {
		return // the usual case costs no verification
	}
	// Security: only a server that is active now may stop this one.
	if !h.signedByMember(signed, s.Server) {
		return
	}
	w := word{*s, signed, h.o.Clock.Boot()}
	if v == forked {
		h.fork(w)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newest == nil || s.Epoch.Compare(h.newest.Epoch) > 0 {
		h.newest = &w
	}
	if h.first == nil {
		h.first, h.told = &w, false
	}
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *Hearsay) judge(s *wire.Statement) (v verdict) {
	h.o.Log.View(func(st *authority.State) { v = judge(st, s) })
	return v
}

func (h *Hearsay) signedByMember(signed []byte, id wire.ServerID) (ok bool) {
	h.o.Log.View(func(st *authority.State) {
		key, err := st.Members.ServerKey(id)
		if err == nil {
			_, err = wire.ParseStatement(signed, key)
		}
		ok = err == nil
	})
	return ok
}

// known reports whether a statement adds nothing to what was heard.
func (h *Hearsay) known(server wire.ServerID, v verdict, e wire.Epoch) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v == ahead {
		return h.newest != nil && e.Compare(h.newest.Epoch) <= 0
	}
	return slices.ContainsFunc(h.forks, func(w word) bool { return w.Server == server })
}

// fork keeps the proof and raises the alarm, once for each server.
func (h *Hearsay) fork(w word) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.forks, func(f word) bool { return f.Server == w.Server }) {
		return
	}
	h.forks = append(h.forks, w)
	what := fmt.Sprintf("server %s states another history at %s", w.Server, w.Epoch)
	if err := h.prove(w); err != nil {
		what += "; the proof could not be kept: " + err.Error()
	}
	h.o.Alarm(AlarmFork, what)
}

// Look tries to reach what was heard to be ahead, and compares.
func (h *Hearsay) Look(ctx context.Context) {
	h.mu.Lock()
	waits := h.first != nil
	h.mu.Unlock()
	if !waits {
		return
	}
	_ = h.o.Log.Refresh(ctx) // whether it worked is seen below
	for _, w := range h.reached() {
		if h.judge(&w.Statement) == forked && h.signedByMember(w.signed, w.Server) {
			h.fork(w)
		}
	}
	h.mu.Lock()
	alarm := h.late() && !h.told
	h.told = h.told || alarm
	first := h.first
	h.mu.Unlock()
	if alarm {
		h.o.Alarm(AlarmBehind, fmt.Sprintf("server %s stated %s, which the store doesn't give", first.Server, first.Epoch))
	}
}

// reached takes away what is ahead no more.
func (h *Hearsay) reached() (out []word) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first != nil && h.judge(&h.first.Statement) != ahead {
		out = append(out, *h.first)
		h.first, h.told = h.newest, false
	}
	if h.newest != nil && h.judge(&h.newest.Statement) != ahead {
		out = append(out, *h.newest)
		h.first, h.newest = nil, nil
	}
	return out
}

// late reports whether the store has had its time. h.mu is held.
func (h *Hearsay) late() bool {
	return h.first != nil && h.judge(&h.first.Statement) == ahead && h.o.Clock.Boot()-h.first.at > 2*h.o.Every
}

// Err says why this server must not answer, nil while it may.
func (h *Hearsay) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.late() {
		return fmt.Errorf("%w: server %s was at %s", ErrBehind, h.first.Server, h.first.Epoch)
	}
	for _, w := range h.forks {
		if h.stands(w) {
			return fmt.Errorf("%w: server %s states another head at %s; fence one of the two servers: see the proofs directory", ErrFork, w.Server, w.Epoch)
		}
	}
	return nil
}

// Forks are the servers that state another history and are not fenced.
func (h *Hearsay) Forks() (out []wire.ServerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.forks {
		if h.stands(w) {
			out = append(out, w.Server)
		}
	}
	return out
}

// stands reports whether people have still to decide about a fork.
func (h *Hearsay) stands(w word) (yes bool) {
	h.o.Log.View(func(st *authority.State) {
		_, err := st.Members.ServerKey(w.Server)
		yes = err == nil && judge(st, &w.Statement) == forked
	})
	return yes
}
