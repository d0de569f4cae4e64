// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// ErrNotPending means that no body with this id waits for signatures.
var ErrNotPending = errors.New("nothing with this id waits for signatures")

const (
	pendingPrefix = "pending/"
	maxPending    = 256
)

// Pending is a body that waits for signatures. It is no state.
type Pending struct {
	ID      wire.BodyID
	Entry   []byte     // signed so far
	Body    *wire.Body // what is signed
	Signed  []string   // admins whose signatures verify
	Missing string     // what is missing, in words
}

// Outcome of a proposal.
type Outcome struct {
	Applied bool
	Epoch   wire.Epoch // of the record, if applied
	Pending *Pending   // if more must sign
}

// Propose takes an entry signed by at least one admin. If enough have signed,
// counting signatures that wait already, it is appended; otherwise it waits.
func (l *Log) Propose(ctx context.Context, entry []byte) (Outcome, error) {
	_, body, err := parseEntry(entry)
	if err != nil {
		return Outcome{}, err
	}
	entry, version, err := l.merge(ctx, body.ID, entry)
	if err != nil {
		return Outcome{}, err
	}
	epoch, err := l.Append(ctx, entry)
	if err == nil {
		return Outcome{Applied: true, Epoch: epoch}, l.forget(ctx, body.ID, version)
	}
	if !errors.Is(err, members.ErrThreshold) {
		return Outcome{}, err
	}
	p, err2 := l.describe(entry, err)
	if err2 != nil {
		return Outcome{}, err2
	}
	// Nobody but a member may make the server keep anything.
	if len(p.Signed) == 0 && body.Kind != members.KindRecover && body.Kind != KindRecoverBegin {
		return Outcome{}, err
	}
	if version == 0 && l.tooManyPending(ctx) {
		return Outcome{}, fmt.Errorf("%w: %d bodies wait already", ErrRefused, maxPending)
	}
	sealed := l.pending.seal(entry, []byte(body.ID.String()))
	if err := l.o.Store.Put(ctx, pendingKey(body.ID), version, sealed); err != nil {
		return Outcome{}, fmt.Errorf("keep for signatures: %w", err)
	}
	return Outcome{Pending: p}, nil
}

// merge joins an entry with the signatures that wait for the same body.
func (l *Log) merge(ctx context.Context, id wire.BodyID, entry []byte) ([]byte, uint64, error) {
	have, version, err := l.waiting(ctx, id)
	if errors.Is(err, ErrNotPending) {
		return entry, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	both, err := wire.Merge(wire.TypeBody, have, entry, wire.MaxBody)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return both, version, nil
}

func (l *Log) waiting(ctx context.Context, id wire.BodyID) ([]byte, uint64, error) {
	sealed, version, err := l.o.Store.Get(ctx, pendingKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, ErrNotPending
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read pending: %w", err)
	}
	entry, err := l.pending.open(sealed, []byte(id.String()))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: a pending body: %w", ErrLog, err)
	}
	return entry, version, nil
}

func (l *Log) describe(entry []byte, missing error) (*Pending, error) {
	signed, body, err := parseEntry(entry)
	if err != nil {
		return nil, err
	}
	p := &Pending{ID: body.ID, Entry: entry, Body: body}
	if missing != nil {
		p.Missing = missing.Error()
	}
	l.View(func(s *State) { p.Signed = s.Members.Signers(signed) })
	return p, nil
}

// Pending lists the bodies that wait and can still be applied; what has expired
// or was overtaken is removed.
func (l *Log) Pending(ctx context.Context) ([]Pending, error) {
	var out []Pending
	for slot, err := range l.o.Store.List(ctx, pendingPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list pending: %w", err)
		}
		entry, err := l.pending.open(slot.Value, []byte(slot.Key[len(pendingPrefix):]))
		if err != nil {
			continue // a slot that a hostile store put there
		}
		missing := l.Check(entry)
		p, err := l.describe(entry, missing)
		if err == nil && errors.Is(missing, members.ErrThreshold) {
			out = append(out, *p)
		} else if err == nil {
			_ = l.forget(ctx, p.ID, slot.Version) // it can never be applied; losing the race to another server is fine
		}
	}
	return out, nil
}

// Check says what keeps an entry from being applied now, nil if nothing.
func (l *Log) Check(entry []byte) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, err := l.state.plan(l.nextLink(entry), entry, l.o.Namer)
	return err
}

func (l *Log) forget(ctx context.Context, id wire.BodyID, version uint64) error {
	if version == 0 {
		return nil
	}
	err := l.o.Store.Put(ctx, pendingKey(id), version, nil)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("remove pending: %w", err)
	}
	return nil
}

func (l *Log) tooManyPending(ctx context.Context) bool {
	n := 0
	for _, err := range l.o.Store.List(ctx, pendingPrefix) {
		if n++; err != nil || n >= maxPending {
			return true
		}
	}
	return false
}

func pendingKey(id wire.BodyID) string { return pendingPrefix + id.String() }
