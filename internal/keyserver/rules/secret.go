// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/wire"
)

// Secret decides on one action on the secret that a names and key backs: policy on
// the secret first, then the state of the key. Sealed is the version of the key
// that opens what is there, 0 if nothing is; writes says that something new is
// sealed. A nil key is one that isn't there.
func (f *Facts) Secret(set *policyset.Set, a Ask, action string, key *authority.Key, sealed uint64, writes bool) Ruling {
	if why := f.Barred(); why != "" {
		return Ruling{Cause: CauseRevoked, Reason: why}
	}
	stand, there := key, key != nil && f.Reaches(key.Name)
	if !there { // Security: decided like one that is there, as in Rule
		stand = &authority.Key{Name: a.Secret, Algorithm: authority.AES256}
	}
	r := f.ask(set, a, wire.Item{Name: stand.Name, Operations: []string{action}}, stand)
	switch {
	case !r.Allowed:
	case !there:
		r.Allowed, r.Reason = false, ReasonNone
	default:
		r.Key, r.Known = key, true
		r.Version, r.Cause, r.Reason = backing(key, sealed, writes)
		r.Allowed = r.Reason == ""
	}
	return r
}

// backing finds the version of a key that seals, or else the one that opens, if
// both can be used as it takes.
func backing(key *authority.Key, sealed uint64, writes bool) (*authority.Version, Cause, string) {
	v, cause, why := Usable(key, wire.Item{Version: sealed, Purpose: wire.PurposeData, Operations: []string{"decrypt"}})
	if why != "" || !writes {
		return v, cause, why
	}
	return Usable(key, wire.Item{Purpose: wire.PurposeData, Operations: []string{"encrypt"}})
}
