// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"claviger/internal/authority/ahead"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// ErrNotPending means that no body with this id waits for signatures.
var ErrNotPending = errors.New("nothing with this id waits for signatures")

const (
	pendingPrefix = "pending/"
	maxPerSigner  = 32 // bodies that wait and that one person has signed
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

// Propose takes an entry signed by at least one admin (or, of the kinds that are
// theirs, one holder of the recovery quorum). If enough have signed, counting
// signatures that wait already, it is appended; otherwise it waits. What waits
// only for time, a recovery, is proposed again, as it is, when that is over.
func (l *Log) Propose(ctx context.Context, entry []byte) (Outcome, error) {
	for range maxRetries {
		out, err := l.propose(ctx, entry)
		if !errors.Is(err, store.ErrConflict) {
			return out, err
		}
	}
	return Outcome{}, fmt.Errorf("propose: others signed %d times meanwhile", maxRetries)
}

// propose gives store.ErrConflict if somebody else's signature came in between.
func (l *Log) propose(ctx context.Context, entry []byte) (Outcome, error) {
	signed, body, err := parseEntry(entry)
	if err != nil {
		return Outcome{}, err
	}
	l.View(func(s *State) { err = s.Members.Judge(signed, body) })
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	entry, version, err := l.merge(ctx, body.ID, entry)
	if err != nil {
		return Outcome{}, err
	}
	epoch, missing := l.Append(ctx, entry)
	if missing == nil {
		_ = l.forget(ctx, body.ID, version) // Pending clears away what is left here
		return Outcome{Applied: true, Epoch: epoch}, nil
	}
	if !errors.Is(missing, members.ErrThreshold) {
		return Outcome{}, missing
	}
	p, err := l.describe(entry, missing)
	if err != nil {
		return Outcome{}, err
	}
	// Security: nobody but a member may make the server keep anything, and no
	// member can use up the places of the others.
	if len(p.Signed) == 0 {
		return Outcome{}, missing
	}
	if version == 0 {
		if err := l.roomFor(ctx, p.Signed); err != nil {
			return Outcome{}, err
		}
	}
	sealed := l.pending.Seal(entry, []byte(body.ID.String()))
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
	entry, err := l.pending.Open(sealed, []byte(id.String()))
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
	l.View(func(s *State) { p.Signed = s.signers(signed, body.Kind) })
	return p, nil
}

// signers names whose signatures count towards a body: holders of the recovery
// quorum for what is theirs, else admins.
func (s *State) signers(signed *wire.Signed, kind string) []string {
	if kind == members.KindRecover || kind == KindRecoverBegin {
		return s.Members.RecoverySigners(signed)
	}
	return s.Members.Signers(signed)
}

// Pending lists the bodies that wait and can still be applied; what has expired
// or was overtaken is removed. One with nothing missing was completed while its
// server failed: it is proposed again, as it is.
func (l *Log) Pending(ctx context.Context) ([]Pending, error) {
	behind := l.Refresh(ctx) // a server that is behind can't judge what was overtaken
	var out []Pending
	for slot, err := range l.o.Store.List(ctx, pendingPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list pending: %w", err)
		}
		entry, err := l.pending.Open(slot.Value, []byte(slot.Key[len(pendingPrefix):]))
		if err != nil {
			continue // a slot that a hostile store put there
		}
		missing := l.Check(entry)
		p, err := l.describe(entry, missing)
		switch {
		case err != nil:
		case missing == nil || errors.Is(missing, members.ErrThreshold):
			out = append(out, *p)
		case behind == nil:
			_ = l.forget(ctx, p.ID, slot.Version) // another server may be faster
		}
	}
	return out, nil
}

// Check says what keeps an entry from being applied now, nil if nothing.
func (l *Log) Check(entry []byte) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, err := l.state.plan(ahead.Parse(l.nextLink(entry), entry), l.o.Namer)
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

// roomFor reports nil if one of the signers has fewer than maxPerSigner bodies
// waiting, counting each body for all who have signed it.
func (l *Log) roomFor(ctx context.Context, signers []string) error {
	count := map[string]int{}
	for slot, err := range l.o.Store.List(ctx, pendingPrefix) {
		if err != nil {
			return fmt.Errorf("list pending: %w", err)
		}
		entry, err := l.pending.Open(slot.Value, []byte(slot.Key[len(pendingPrefix):]))
		if err != nil {
			continue
		}
		if p, err := l.describe(entry, nil); err == nil {
			for _, name := range p.Signed {
				count[name]++
			}
		}
	}
	for _, name := range signers {
		if count[name] < maxPerSigner {
			return nil
		}
	}
	return fmt.Errorf("%w: %d bodies that %s signed wait already", ErrRefused, maxPerSigner, strings.Join(signers, ", "))
}

func pendingKey(id wire.BodyID) string { return pendingPrefix + id.String() }
