// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/wire"
)

// Cause sorts refusals for doors whose protocol tells them apart.
type Cause string

// The causes of a refusal.
const (
	CausePolicy   Cause = ""         // no policy permits it, one forbids it, or there is no such key
	CauseDisabled Cause = "disabled" // people switched the key off
	CauseState    Cause = "state"    // the key or its version isn't for this, or isn't any more
	CauseRevoked  Cause = "revoked"  // the caller, its endpoint, or everything is revoked
	CauseAbsent   Cause = "absent"   // there is no such key; said only to who might use one of this name
)

// Facts are what the decisions on one request look at, of one state.
type Facts struct {
	Caller  *authn.Caller
	Epoch   wire.Epoch
	Head    wire.Hash
	Members wire.Hash
	Domain  string // its name
	Policy  *authority.PolicySet
	Revoked bool             // everything is
	Keys    []*authority.Key // one for each item; nil: there is none
	client  *authority.Client

	endpoint *authority.EndpointState // a subject's
	plain    *policyset.Subject       // a subject of whose request the door says nothing
}

// Look takes the facts for some items.
func Look(s *authority.State, caller *authn.Caller, items []wire.Item) Facts {
	f := Facts{
		Caller: caller, Epoch: s.Epoch, Head: s.Head, Members: s.Members.Newest, Domain: s.Members.Genesis.Name,
		Policy: s.Policy, Revoked: s.Revoked, client: s.Client(caller.ID),
	}
	if caller.Kind == authn.Subject {
		f.endpoint = s.Endpoint(caller.Endpoint)
	}
	if len(items) > 0 {
		f.Keys = make([]*authority.Key, len(items))
	}
	for i, item := range items {
		k := s.KeyNamed(item.Name)
		if item.Name == "" {
			k = s.Key(wire.KeyID(item.ID))
		}
		if k != nil && f.Reaches(k.Name) {
			f.Keys[i] = k
		}
	}
	return f
}

// Reaches reports whether the caller's door may touch a key at all, whatever policy
// says. Security: a key beyond that is as one that isn't there.
func (f *Facts) Reaches(name string) bool {
	if f.Caller.Kind != authn.Subject {
		return true
	}
	return f.endpoint != nil && f.endpoint.Reaches(name)
}

// Absence is the cause of a refusal of a key that isn't there, although policy permits
// its use. Security: beyond what the caller's door may touch nothing is said.
func (f *Facts) Absence(name string) Cause {
	if name == "" || !f.Reaches(name) {
		return CausePolicy
	}
	return CauseAbsent
}

// Barred says why the caller gets nothing, whatever it asks for; "" if it may ask.
func (f *Facts) Barred() string {
	switch {
	case f.Revoked:
		return "everything is revoked"
	case f.client != nil && f.client.Revoked:
		return "the client is revoked"
	case f.Caller.Kind != authn.Subject:
		return ""
	// Security: a door is rebuilt after a change of its endpoint; the caller that it
	// made a moment before counts as the state is now.
	case f.endpoint == nil || f.endpoint.Removed || f.endpoint.Kind != f.Caller.EndpointKind:
		return "there is no such endpoint any more"
	case f.endpoint.Disabled:
		return "the endpoint is disabled"
	}
	return ""
}

// subject is what decides about a door's caller, nil of any other.
func (f *Facts) subject(asked map[string]string) (*policyset.Subject, error) {
	if f.Caller.Kind != authn.Subject || f.plain != nil && len(asked) == 0 {
		return f.plain, nil
	}
	s, err := policyset.SubjectOf(f.Caller, asked)
	if err == nil && len(asked) == 0 {
		f.plain = s
	}
	return s, err
}
