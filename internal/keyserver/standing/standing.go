// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// ErrFull means that a bound is reached and the request is not kept. Its answer
// stands all the same.
var ErrFull = errors.New("as many standing requests are kept as may be")

// Log is the authority log as it is looked at.
type Log interface {
	View(func(*authority.State))
	Changed() <-chan struct{}
}

// Options of a Standing. All but Deliver are required.
type Options struct {
	Store  Slots
	Seal   *secret.Bytes // root-derived, 32 bytes, the same at each server; its owner wipes it
	Domain wire.DomainID
	Server wire.ServerID
	Log    Log
	Clock  clock.Clock
	Logger *slog.Logger
	// Release has the choke point decide and make a release of this moment, sealed
	// to the one-time key. ErrEnded: there will never be another.
	Release func(ctx context.Context, r *Request, key []byte) (Made, error)
	// Deliver returns nil when the release is where the client's mailbox is looked
	// for: at one relay or directory at least. nil: this server can't deliver, so it
	// keeps and claims nothing.
	Deliver func(ctx context.Context, p Parcel) error
}

// Made is a release ahead of need.
type Made struct {
	Sealed   []byte   // empty: nothing was permitted, and there is nothing to send
	Versions []uint64 // for each item the version released, 0 if denied
	Expires  int64    // Unix milliseconds, after which nobody can use it
}

// maxParcelLife is how long relays keep a parcel, in milliseconds (docs/spec/relay.md,
// section 4).
const maxParcelLife = 48 * 3600 * 1000

// NewMade is the release of a grant for a request that stands until then (Unix
// milliseconds).
func NewMade(sealed []byte, grant *wire.Grant, until int64) Made {
	m := Made{Versions: Versions(grant), Expires: min(grant.Issued+maxParcelLife, until)}
	if Permits(grant) {
		m.Sealed = sealed
	}
	return m
}

// Permits reports whether a grant gives anything: who may have nothing can't fill
// the store.
func Permits(grant *wire.Grant) bool {
	return slices.ContainsFunc(Versions(grant), func(v uint64) bool { return v != 0 })
}

// Versions are those that a grant gives, 0 for an item that it denies.
func Versions(grant *wire.Grant) []uint64 {
	out := make([]uint64, len(grant.Items))
	for n, i := range grant.Items {
		if i.Decision == wire.DecisionAllowed {
			out[n] = i.Version
		}
	}
	return out
}

// ErrEnded means that a request has to go: who made it may not come any more.
var ErrEnded = errors.New("the standing request has ended")

// Standing keeps the standing requests of a domain. It is safe for concurrent use.
type Standing struct {
	o     Options
	slots slots
	news  chan struct{} // a request was kept

	mu     sync.Mutex
	known  map[string]*entry // by name
	unsent int               // bytes of releases that nobody took yet
}

// entry is a slot as far as it has to be known to see whether there is something
// to do.
type entry struct {
	version uint64 // of the slot
	client  string
	mailbox wire.Hash
	items   []wire.Item
	told    []uint64
	until   int64
	left    int
	claimed int64
	by      wire.ServerID

	busy   bool    // a worker has it
	ours   bool    // the claim is of this run
	parcel *parcel // made, and taken by nobody yet
}

// Parcel is a release on its way to a mailbox.
type Parcel struct {
	To      wire.Hash
	Expires int64 // Unix milliseconds
	Sealed  []byte
}

// parcel is one that waits to be taken.
type parcel struct {
	Parcel
	of   wire.Hash // the request
	told []uint64
}

// Open reads what is kept.
func Open(ctx context.Context, o Options) (*Standing, error) {
	s := &Standing{o: o, slots: newSlots(o.Store, o.Seal, o.Domain), news: make(chan struct{}, 1), known: map[string]*entry{}}
	return s, s.scan(ctx)
}

// Wipe forgets the key that names slots. Nothing may run any more.
func (s *Standing) Wipe() { s.slots.names.Wipe() }

// Count is how many requests are kept.
func (s *Standing) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known)
}

// Keep keeps a request that was answered with these versions, in the place of an
// earlier one of the same mailbox. It goes with the client's certificate (notAfter,
// Unix milliseconds). Keys that were claimed before are left out.
func (s *Standing) Keep(ctx context.Context, r Request, notAfter int64) error {
	r.Type, r.Claimed, r.By = typeSlot, 0, wire.ServerID{}
	r.Until = min(r.Until, notAfter, s.now()+wire.MaxStandingLife)
	if s.o.Deliver == nil || r.Until <= s.now() || !slices.ContainsFunc(r.Items, current) {
		return nil // it would never be answered
	}
	name, keys := s.slots.name(r.Client, r.Mailbox), r.Keys
	for range maxRaces {
		old, version, err := s.slots.read(ctx, name)
		if err != nil {
			return err
		}
		if version == 0 {
			if err := s.room(ctx, r.Client); err != nil {
				return err
			}
		}
		r.Used = nil
		if old != nil {
			r.Used = old.Used
		}
		r.Keys = slices.DeleteFunc(slices.Clone(keys), func(k []byte) bool { return slices.Contains(r.Used, wire.HPKEHash(k)) })
		err = s.slots.write(ctx, name, version, &r)
		if err == nil {
			s.learn(ctx, name)
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("keep standing request: %w", err)
		}
	}
	return fmt.Errorf("keep standing request: others changed it %d times meanwhile", maxRaces)
}

func current(i wire.Item) bool { return i.Version == 0 }

func (s *Standing) now() int64 { return s.o.Clock.Now().UnixMilli() }

// room makes room for one more of a client: the one that ends first gives way to
// it, so that runs that ended keep nobody out. Other clients' stay.
func (s *Standing) room(ctx context.Context, client string) error {
	s.mu.Lock()
	var first string
	n, all := 0, len(s.known)
	for name, e := range s.known {
		if e.client != client {
			continue
		}
		if n++; first == "" || e.until < s.known[first].until {
			first = name
		}
	}
	s.mu.Unlock()
	switch {
	case n >= perClient:
		return s.forget(ctx, first)
	case all >= maxKept:
		return ErrFull
	}
	return nil
}

// Gone removes the requests of a mailbox whose holder has ended: nobody has the
// private halves of their keys any more.
func (s *Standing) Gone(ctx context.Context, mailbox wire.Hash) {
	var ended []string
	s.mu.Lock()
	for name, e := range s.known {
		if e.mailbox == mailbox {
			ended = append(ended, name)
		}
	}
	s.mu.Unlock()
	for _, name := range ended {
		s.report(s.forget(ctx, name))
	}
}

// forget removes a slot as it is now.
func (s *Standing) forget(ctx context.Context, name string) error {
	_, version, err := s.slots.Get(ctx, name)
	if err == nil {
		err = s.slots.remove(ctx, name, version)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(name)
	return nil
}

// drop forgets an entry. s.mu is held.
func (s *Standing) drop(name string) {
	if e := s.known[name]; e != nil {
		s.unqueue(e)
		delete(s.known, name)
	}
}

// unqueue forgets a release that waits. s.mu is held.
func (s *Standing) unqueue(e *entry) {
	if e.parcel != nil {
		s.unsent -= len(e.parcel.Sealed)
		e.parcel = nil
	}
}

// learn reads a slot that has just changed, and says that there may be work.
func (s *Standing) learn(ctx context.Context, name string) {
	r, version, err := s.slots.read(ctx, name)
	if err != nil {
		return // the next scan finds it
	}
	s.mu.Lock()
	s.note(name, version, r)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// note takes in a slot's content, nil for none. s.mu is held.
func (s *Standing) note(name string, version uint64, r *Request) {
	e := s.known[name]
	if r == nil {
		s.drop(name)
		return
	}
	if e == nil {
		if len(s.known) >= maxKept {
			return // a store that shows more than were ever kept
		}
		e = &entry{}
		s.known[name] = e
	}
	e.mailbox = r.Mailbox
	e.version, e.client, e.items, e.told, e.until = version, r.Client, slices.Clone(r.Items), r.Told, r.Until
	e.left, e.claimed, e.by = len(r.Keys), r.Claimed, r.By
}

// scan takes in what other servers changed.
func (s *Standing) scan(ctx context.Context) error {
	seen := map[string]bool{}
	for slot, err := range s.slots.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list standing requests: %w", err)
		}
		s.mu.Lock()
		e := s.known[slot.Key]
		s.mu.Unlock()
		if len(seen) < maxKept {
			seen[slot.Key] = true
		}
		if e != nil && e.version == slot.Version {
			continue
		}
		r := s.slots.open(slot.Key, slot.Value)
		s.mu.Lock()
		s.note(slot.Key, slot.Version, r)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.known {
		if !seen[name] && !e.busy {
			s.drop(name)
		}
	}
	return nil
}
