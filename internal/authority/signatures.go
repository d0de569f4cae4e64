// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto"
	"fmt"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// judgeSignatures refuses an entry with a signature that doesn't verify under a
// key that may have a part in it.
//
// Security: what waits keeps one signature a key, so a false one in somebody
// else's name would keep theirs out for good (T-68).
func (s *State) judgeSignatures(signed *wire.Signed, body *wire.Body) error {
	known := map[wire.Hash]crypto.PublicKey{}
	for _, key := range s.parties(body) {
		known[wire.KeyHash(key)] = key
	}
	good, strange := 0, 0
	for _, sig := range signed.Signatures {
		key, ok := known[sig.KID]
		switch {
		case !ok:
			strange++
		case signed.Verify(key) != nil:
			return fmt.Errorf("%w: a signature is false", ErrRefused)
		default:
			good++
		}
	}
	// Who has no part in it takes no place; alone, the signer table answers them.
	if good > 0 && strange > 0 {
		return fmt.Errorf("%w: signed by a key that has no part in this", ErrRefused)
	}
	return nil
}

// parties lists the keys that may sign a proposed body: admins, the recovery
// quorum, and who is named in it as new.
func (s *State) parties(body *wire.Body) []crypto.PublicKey {
	keys := append(append([]members.Key{}, s.Members.Keys.Keys...), s.Members.Recovery.Keys...)
	var out []crypto.PublicKey
	switch body.Kind {
	case members.KindKeys, members.KindRecover, KindRecoverBegin:
		var p members.Keys
		if wire.Unmarshal(body.Payload, &p, wire.MaxMembers) == nil {
			keys = append(keys, p.Keys...)
		}
	case members.KindRecovery:
		var p members.Recovery
		if wire.Unmarshal(body.Payload, &p, wire.MaxMembers) == nil {
			keys = append(keys, p.Keys...)
		}
	case members.KindJoin:
		var p members.Server
		if wire.Unmarshal(body.Payload, &p, wire.MaxMembers) == nil {
			if key, err := p.PublicKey(); err == nil {
				out = append(out, key)
			}
		}
	}
	for _, k := range keys {
		if key, err := k.PublicKey(); err == nil {
			out = append(out, key)
		}
	}
	return out
}
