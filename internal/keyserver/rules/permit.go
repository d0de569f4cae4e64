// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/wire"
)

// Permit decides on one action that doesn't use a key: making, rotating or
// retiring it. The state of the key is not looked at.
func (f *Facts) Permit(set *policyset.Set, a Ask, action string, key *authority.Key) Ruling {
	if why := f.Barred(); why != "" {
		return Ruling{Cause: CauseRevoked, Reason: why}
	}
	r := f.ask(set, a, wire.Item{Name: key.Name, Operations: []string{action}}, key)
	if r.Allowed && !f.Reaches(key.Name) {
		r.Allowed, r.Reason = false, ReasonNone
	}
	return r
}

// Permitted lists what policy permits the caller with a key, whatever the key's
// state, and what decided.
func (f *Facts) Permitted(set *policyset.Set, a Ask, key *authority.Key) (operations []string, all Ruling) {
	if why := f.Barred(); why != "" {
		return nil, Ruling{Cause: CauseRevoked, Reason: why}
	}
	for _, op := range OperationsOf(key.Algorithm) {
		r := f.ask(set, a, wire.Item{Name: key.Name, Purpose: op.Purpose, Operations: []string{op.Name}}, key)
		all.Errors, all.Record = append(all.Errors, r.Errors...), r.Record
		if r.Allowed {
			operations, all.Allowed = append(operations, op.Name), true
			all.Policies = append(all.Policies, r.Policies...)
		} else if all.Reason == "" {
			all.Reason = r.Reason
		}
	}
	return operations, all
}

// By names who asked for a change that a server makes, for the people who read the
// authority log.
func By(caller *authn.Caller, route string) string {
	return Clip("asked for by " + caller.ID + " (" + route + ")")
}
