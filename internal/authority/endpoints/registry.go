// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"claviger/internal/wire"
)

// Registry is every endpoint that ever was, by name. Use [New].
type Registry struct {
	Named map[string]*State // for the snapshot of a state; read it with Get and All
}

// New returns an empty Registry.
func New() Registry { return Registry{map[string]*State{}} }

// Get returns an endpoint, nil if there never was one of this name.
func (r *Registry) Get(name string) *State { return r.Named[name] }

// All yields every endpoint, removed ones too, in the order of names.
func (r *Registry) All() iter.Seq[*State] {
	return func(yield func(*State) bool) {
		for _, name := range slices.Sorted(maps.Keys(r.Named)) {
			if !yield(r.Named[name]) {
				return
			}
		}
	}
}

// At returns the endpoint that answers at the root of a host, nil without one.
func (r *Registry) At(host string) *State {
	for _, s := range r.Named {
		if host != "" && s.Host == host {
			return s
		}
	}
	return nil
}

// Materials yields what each credential of an endpoint that isn't removed names.
func (r *Registry) Materials() iter.Seq[wire.Hash] {
	return func(yield func(wire.Hash) bool) {
		for _, s := range r.Named {
			for _, c := range s.Credentials {
				if !yield(c.Material) {
					return
				}
			}
		}
	}
}

// Knows reports whether a subject's id names an endpoint that ever was.
func (r *Registry) Knows(subject string) bool {
	name, _, _ := strings.Cut(subject, ":")
	return wire.ValidSubject(subject) && r.Named[name] != nil
}

// Clone returns a Registry of its own with the same endpoints.
func (r *Registry) Clone() Registry { return Registry{maps.Clone(r.Named)} }

// Change is what a body would do.
type Change struct {
	Name   string // of the endpoint
	Quorum bool   // takes the threshold although its rule permits one admin
	Apply  func()
}

// Plan decodes a body's payload and says what it would do, or why it does
// nothing. Kind is one of the package's.
func (r *Registry) Plan(kind string, payload []byte, link wire.Link) (Change, error) {
	switch kind {
	case KindSet:
		return on(payload, func(p *Set) (Change, error) { return r.set(p, link) })
	case KindDisable:
		return on(payload, r.disable)
	case KindEnable:
		return on(payload, r.enable)
	case KindRemove:
		return on(payload, r.remove)
	}
	return Change{}, fmt.Errorf("unknown kind %q", kind)
}

func on[P Set | Disable | Ref](payload []byte, plan func(*P) (Change, error)) (Change, error) {
	var p P
	if err := wire.Unmarshal(payload, &p, MaxSize+2*wire.MaxReason); err != nil {
		return Change{}, err
	}
	if n := len(reason(any(&p))); n > wire.MaxReason {
		return Change{}, fmt.Errorf("a reason of %d bytes", n)
	}
	return plan(&p)
}

func reason(payload any) string {
	switch p := payload.(type) {
	case *Set:
		return p.Reason
	case *Disable:
		return p.Reason
	case *Ref:
		return p.Reason
	}
	return ""
}

func (r *Registry) set(p *Set, link wire.Link) (Change, error) {
	e := p.Endpoint
	if err := e.Check(); err != nil {
		return Change{}, err
	}
	have := r.Named[e.Name]
	if have == nil && len(r.Named) >= MaxEndpoints {
		return Change{}, fmt.Errorf("there were %d endpoints already", MaxEndpoints)
	}
	if have != nil && have.Kind != e.Kind {
		return Change{}, fmt.Errorf("endpoint %s is a %s: its name is taken", e.Name, have.Kind)
	}
	if err := r.collides(&e); err != nil {
		return Change{}, err
	}
	next := &State{Endpoint: e, Set: link.Epoch, Created: link.Time}
	if have != nil {
		// Security: a change never switches on what somebody switched off.
		next.Disabled, next.Revoked, next.Created = have.Disabled, have.Revoked, have.Created
	}
	// Security: one admin makes a new name, which no policy speaks of yet. Whoever
	// changes what stands under a known name takes over its rights: for ever, since
	// policies may still name what was removed.
	return Change{Name: e.Name, Quorum: have != nil, Apply: func() { r.put(next) }}, nil
}

// collides says which other endpoint answers where this one would.
func (r *Registry) collides(e *Endpoint) error {
	for o := range r.All() { // in one order: the reason stands in a void record
		if o.Name == e.Name {
			continue
		}
		if e.Host != "" && (o.Host == e.Host || o.Name == e.Host) || o.Host == e.Name {
			return fmt.Errorf("endpoint %s answers under that host or name", o.Name)
		}
	}
	return nil
}

func (r *Registry) put(s *State) { r.Named[s.Name] = s }

// edit prepares a change of what an endpoint is by then.
func (r *Registry) edit(name string, quorum bool, change func(*State)) Change {
	return Change{Name: name, Quorum: quorum, Apply: func() {
		next := *r.Named[name]
		change(&next)
		r.put(&next)
	}}
}

var errNone = errors.New("no such endpoint")

// live returns an endpoint that is not removed.
func (r *Registry) live(name string) (*State, error) {
	if s := r.Named[name]; s != nil && !s.Removed {
		return s, nil
	}
	return nil, errNone
}

func (r *Registry) disable(p *Disable) (Change, error) {
	s, err := r.live(p.Name)
	if err != nil {
		return Change{}, err
	}
	if s.Disabled && (s.Revoked || !p.Revoke) {
		return Change{}, fmt.Errorf("endpoint %s is already so", p.Name)
	}
	return r.edit(p.Name, false, func(s *State) { s.Disabled, s.Revoked = true, s.Revoked || p.Revoke }), nil
}

func (r *Registry) enable(p *Ref) (Change, error) {
	s, err := r.live(p.Name)
	if err != nil {
		return Change{}, err
	}
	if !s.Disabled {
		return Change{}, fmt.Errorf("endpoint %s is already so", p.Name)
	}
	return r.edit(p.Name, s.Revoked, func(s *State) { s.Disabled, s.Revoked = false, false }), nil
}

// remove leaves the name, so that it stays taken, and whether it was revoked.
func (r *Registry) remove(p *Ref) (Change, error) {
	if _, err := r.live(p.Name); err != nil {
		return Change{}, err
	}
	return r.edit(p.Name, false, func(s *State) {
		s.Endpoint, s.Removed = Endpoint{Name: s.Name, Kind: s.Kind}, true
	}), nil
}
