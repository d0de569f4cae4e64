// SPDX-License-Identifier: Apache-2.0

// Package invites holds what the authority log says of who may enrol: invites,
// and the rules by which one admin may invite under a path. It is the part of
// package authority that checks them; that an invite works once is the fold's
// business, which marks it used ([Book.Use]) by the record of the enrolment.
package invites

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger/internal/wire"
)

// MaxLife is how long an invite may be used, counted from its record.
const MaxLife = time.Hour

const (
	slack  = 5 * time.Minute // for the clock of the admin who made it
	memory = 24 * time.Hour  // how long an invite is kept when it is over
)

// Rule lets one admin invite under a path without a quorum.
type Rule struct {
	_      struct{} `cbor:",toarray"`
	Admin  string
	Prefix string // path prefix after /workload/, ending in "/" or empty for all
	Remove bool
}

// Invite permits one enrolment.
type Invite struct {
	_       struct{}    `cbor:",toarray"`
	ID      wire.BodyID // random
	Client  string      // SPIFFE id
	Key     []byte      // Ed25519 public key of the invite's seed, 32 bytes
	Expires int64       // Unix milliseconds, at most MaxLife after the record
}

// State is an invite and whether it was used. It never changes.
type State struct {
	_ struct{} `cbor:",toarray"`
	Invite
	Used bool
}

// Book is all invites and rules. Use [New].
type Book struct {
	Open  map[wire.BodyID]*State // those that are not long over
	Rules map[string][]string    // admin → path prefixes
}

// New returns an empty Book.
func New() Book { return Book{map[wire.BodyID]*State{}, map[string][]string{}} }

// Clone returns a Book of its own with the same content.
func (b Book) Clone() Book { return Book{maps.Clone(b.Open), maps.Clone(b.Rules)} }

// Check says why a new invite is not taken at a time (Unix milliseconds), nil if
// it is.
func (b Book) Check(p *Invite, now int64) error {
	switch {
	case !wire.ValidID(p.Client) || len(p.Key) != ed25519.PublicKeySize || p.ID == (wire.BodyID{}) || b.Open[p.ID] != nil:
		return errors.New("the invite is not usable")
	case p.Expires <= now:
		return errors.New("the invite has expired")
	case p.Expires > now+MaxLife.Milliseconds()+slack.Milliseconds():
		return fmt.Errorf("the invite would hold for longer than %s", MaxLife)
	}
	return nil
}

// Add takes an invite, and drops those that have been over for a day, which it
// names: until then the reason of a refusal can be told.
func (b Book) Add(p *Invite, now int64) (dropped []wire.BodyID) {
	for id, i := range b.Open {
		if i.Expires+memory.Milliseconds() < now {
			delete(b.Open, id)
			dropped = append(dropped, id)
		}
	}
	b.Open[p.ID] = &State{Invite: *p}
	return dropped
}

// Usable returns the invite if it may be used for a client at a time (Unix
// milliseconds), else nil.
func (b Book) Usable(id wire.BodyID, client string, now int64) *State {
	inv := b.Open[id]
	if inv == nil || inv.Used || inv.Expires < now || inv.Client != client {
		return nil
	}
	return inv
}

// Use marks an invite as used.
func (b Book) Use(i *State) { b.Open[i.ID] = &State{Invite: i.Invite, Used: true} }

// CheckRule says why a rule is not taken, nil if it is.
func CheckRule(p *Rule) error {
	parts, whole := strings.CutSuffix(p.Prefix, "/")
	if !wire.ValidNamePart(p.Admin) || p.Prefix != "" && !(whole && wire.ValidPath(parts)) {
		return errors.New("the rule's admin or path is not usable")
	}
	return nil
}

// SetRule takes a rule, or takes it back.
func (b Book) SetRule(p *Rule) {
	rest := slices.DeleteFunc(slices.Clone(b.Rules[p.Admin]), func(have string) bool { return have == p.Prefix })
	if !p.Remove {
		rest = append(rest, p.Prefix)
	}
	b.Rules[p.Admin] = rest
}

// May reports whether a rule lets the admin invite this client.
func (b Book) May(admin, client string) bool {
	_, path, ok := strings.Cut(client, "/workload/")
	return ok && slices.ContainsFunc(b.Rules[admin], func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}
