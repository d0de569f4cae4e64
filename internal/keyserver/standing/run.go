// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"context"
	"errors"
	"sync"
	"time"

	"claviger/internal/authority"
	"claviger/internal/store"
	"claviger/internal/wire"
)

const (
	scanEvery = time.Minute            // what other servers kept, and what nobody took, is looked at again
	claimGood = time.Minute            // for a claim to be delivered, before the next key is taken
	gap       = 100 * time.Millisecond // between two looks, however fast the log moves
	atOnce    = 16                     // requests that are worked on
	maxUnsent = 16 << 20               // bytes of releases that wait for a relay
)

// Run makes releases as the log moves, until ctx ends.
func (s *Standing) Run(ctx context.Context) {
	every := time.NewTicker(scanEvery)
	defer every.Stop()
	for {
		changed := s.o.Log.Changed() // before the look, so that no change is missed
		s.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-s.news:
		case <-every.C:
			if err := s.scan(ctx); err != nil && ctx.Err() == nil {
				s.o.Logger.Warn("Standing requests could not be read", "error", err)
			}
		}
		pause := time.NewTimer(gap)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// look removes what has ended and has the rest served that waits for something.
func (s *Standing) look(ctx context.Context) {
	var ended, due []string
	s.mu.Lock()
	s.o.Log.View(func(st *authority.State) {
		for name, e := range s.known {
			switch {
			case e.busy:
			case e.over(st, s.now()):
				ended = append(ended, name)
			case s.due(st, e):
				e.busy = true
				due = append(due, name)
			}
		}
	})
	s.mu.Unlock()
	for _, name := range ended {
		s.report(s.forget(ctx, name))
	}
	s.all(ctx, due)
}

// all serves requests, a few at a time: a relay that is slow holds up its own.
func (s *Standing) all(ctx context.Context, due []string) {
	var workers sync.WaitGroup
	defer workers.Wait()
	places := make(chan struct{}, atOnce)
	for _, name := range due {
		places <- struct{}{}
		workers.Go(func() {
			defer func() { <-places }()
			s.report(s.serve(ctx, name))
			s.mu.Lock()
			defer s.mu.Unlock()
			if e := s.known[name]; e != nil {
				e.busy = false
			}
		})
	}
}

func (s *Standing) report(err error) {
	if err != nil {
		s.o.Logger.Warn("A standing request could not be served", "error", err)
	}
}

// over reports whether a request has to go: its time, its client or one of its
// keys has.
func (e *entry) over(st *authority.State, now int64) bool {
	if now >= e.until || st.Revoked || st.ClientRevoked(e.client) {
		return true
	}
	for _, i := range e.items {
		if k := keyOf(st, i); k == nil || k.Disabled {
			return true
		}
	}
	return false
}

func keyOf(st *authority.State, i wire.Item) *authority.Key {
	if i.Name != "" {
		return st.KeyNamed(i.Name)
	}
	return st.Key(wire.KeyID(i.ID))
}

// due reports whether there is something to send: a version that the client
// doesn't have, or a release that nobody took. s.mu is held.
func (s *Standing) due(st *authority.State, e *entry) bool {
	if e.parcel != nil {
		return true
	}
	return s.o.Deliver != nil && s.free(e.claimed, e.by, e.ours) && e.left > 0 && behind(st, e.items, e.told)
}

// free reports whether the next key may be claimed. A claim of another server, or
// of this run, gets its time; what an earlier run of this server claimed is lost.
func (s *Standing) free(claimed int64, by wire.ServerID, ours bool) bool {
	since := s.now() - claimed
	return claimed == 0 || by == s.o.Server && !ours || since < 0 || since >= claimGood.Milliseconds()
}

// behind reports whether one of the items that ask for the current version has
// another one now than was told.
func behind(st *authority.State, items []wire.Item, told []uint64) bool {
	for n, i := range items {
		k := keyOf(st, i)
		if i.Version != 0 || k == nil {
			continue
		}
		if v := k.Current(); v != nil && v.Number != told[n] {
			return true
		}
	}
	return false
}

// serve sends what waits, or claims a key, has a release made and sends it.
func (s *Standing) serve(ctx context.Context, name string) error {
	if waits, err := s.resend(ctx, name); waits {
		return err
	}
	r, key, err := s.claim(ctx, name)
	if err != nil || key == nil {
		return err
	}
	made, err := s.o.Release(ctx, r, key)
	if errors.Is(err, ErrEnded) {
		return s.forget(ctx, name)
	}
	if err != nil {
		return err // after a while the next key is claimed
	}
	p := &parcel{Parcel{To: r.Mailbox, Expires: made.Expires, Sealed: made.Sealed}, r.Sealed, s.toldBy(r, made)}
	if len(made.Sealed) > 0 {
		if err := s.o.Deliver(ctx, p.Parcel); err != nil {
			s.wait(name, p)
			return err
		}
	}
	return s.finish(ctx, name, p)
}

// toldBy is what the client has been told when a release is delivered. What it was
// denied it is not offered again before the next version.
func (s *Standing) toldBy(r *Request, made Made) []uint64 {
	told := make([]uint64, len(r.Items))
	s.o.Log.View(func(st *authority.State) {
		for n, i := range r.Items {
			if told[n] = made.Versions[n]; told[n] != 0 {
				continue
			}
			if k := keyOf(st, i); k != nil && k.Current() != nil {
				told[n] = k.Current().Number
			}
		}
	})
	return told
}

// claim takes a key out of the slot: from then on nobody else has it, whatever
// happens. A nil key means that there is nothing to do any more.
func (s *Standing) claim(ctx context.Context, name string) (*Request, []byte, error) {
	for range maxRaces {
		r, version, err := s.slots.read(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		s.mu.Lock()
		s.note(name, version, r)
		ours := s.known[name] != nil && s.known[name].ours
		s.mu.Unlock()
		if r == nil || len(r.Keys) == 0 || !s.free(r.Claimed, r.By, ours) || !s.behindNow(r) {
			return nil, nil, nil
		}
		key := r.take(s.o.Server, max(s.now(), 1))
		// Security: the key is out of the slot before anything is sealed to it, or
		// two servers, or two runs of one, would both release under it.
		err = s.slots.write(ctx, name, version, r)
		if err == nil {
			s.mu.Lock()
			if e := s.known[name]; e != nil {
				e.ours, e.claimed, e.by, e.left, e.version = true, r.Claimed, r.By, len(r.Keys), 0
			}
			s.mu.Unlock()
			return r, key, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return nil, nil, err
		}
	}
	return nil, nil, nil // others serve it
}

func (s *Standing) behindNow(r *Request) (yes bool) {
	s.o.Log.View(func(st *authority.State) { yes = behind(st, r.Items, r.Told) })
	return yes
}

// wait keeps a release that nobody took, if there is room for it.
func (s *Standing) wait(name string, p *parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[name]; e != nil && s.unsent+len(p.Sealed) <= maxUnsent {
		e.parcel = p
		s.unsent += len(p.Sealed)
	}
}

// resend tries again to send what waits, and reports whether something does.
func (s *Standing) resend(ctx context.Context, name string) (bool, error) {
	s.mu.Lock()
	var p *parcel
	if e := s.known[name]; e != nil {
		p = e.parcel
	}
	s.mu.Unlock()
	if p == nil {
		return false, nil
	}
	if s.now() < p.Expires {
		if err := s.o.Deliver(ctx, p.Parcel); err != nil {
			return true, err
		}
	}
	s.mu.Lock()
	if e := s.known[name]; e != nil {
		s.unqueue(e)
	}
	s.mu.Unlock()
	if s.now() >= p.Expires {
		return false, nil
	}
	return true, s.finish(ctx, name, p)
}

// finish notes what the client has been told, unless it made a new request
// meanwhile.
func (s *Standing) finish(ctx context.Context, name string, p *parcel) error {
	for range maxRaces {
		r, version, err := s.slots.read(ctx, name)
		if err != nil {
			return err
		}
		if r == nil || r.Sealed != p.of || r.By != s.o.Server {
			break
		}
		r.Told, r.Claimed, r.By = p.told, 0, wire.ServerID{}
		if err = s.slots.write(ctx, name, version, r); err == nil {
			break
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	s.mu.Lock()
	if e := s.known[name]; e != nil {
		e.ours = false
	}
	s.mu.Unlock()
	s.learn(ctx, name)
	return nil
}
