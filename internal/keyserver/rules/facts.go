// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"claviger/internal/authn"
	"claviger/internal/authority"
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
}

// Look takes the facts for some items.
func Look(s *authority.State, caller *authn.Caller, items []wire.Item) Facts {
	f := Facts{
		Caller: caller, Epoch: s.Epoch, Head: s.Head, Members: s.Members.Newest, Domain: s.Members.Genesis.Name,
		Policy: s.Policy, Revoked: s.Revoked, client: s.Client(caller.ID),
	}
	if len(items) > 0 {
		f.Keys = make([]*authority.Key, len(items))
	}
	for i, item := range items {
		if item.Name != "" {
			f.Keys[i] = s.KeyNamed(item.Name)
		} else {
			f.Keys[i] = s.Key(wire.KeyID(item.ID))
		}
	}
	return f
}

// Barred says why the caller gets nothing, whatever it asks for; "" if it may ask.
func (f *Facts) Barred() string {
	switch {
	case f.Revoked:
		return "everything is revoked"
	case f.client != nil && f.client.Revoked:
		return "the client is revoked"
	}
	return ""
}
