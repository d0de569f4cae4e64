// SPDX-License-Identifier: Apache-2.0

package members

import (
	"crypto"
	"errors"
	"slices"

	"claviger/internal/wire"
)

// Judge refuses a body on its way to be kept for further signatures if one of
// those it has doesn't verify under a key that may have a part in it. A body
// that only keys without a part have signed is left to the signer table.
//
// Security: what waits keeps one signature a key, so a false one in somebody
// else's name would keep theirs out for good (T-68).
func (s *State) Judge(signed *wire.Signed, body *wire.Body) error {
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
			return errors.New("a signature is false")
		default:
			good++
		}
	}
	// Who has no part in it takes no place.
	if good > 0 && strange > 0 {
		return errors.New("signed by a key that has no part in this")
	}
	return nil
}

// parties lists the keys that may sign a proposed body: admins, the recovery
// quorum, and who is named in it as new.
func (s *State) parties(body *wire.Body) []crypto.PublicKey {
	keys := slices.Concat(s.Keys.Keys, s.Recovery.Keys)
	var out []crypto.PublicKey
	switch body.Kind {
	case KindKeys, KindRecover, KindRecoverBegin:
		var p Keys
		if decode(body.Payload, &p) == nil {
			keys = append(keys, p.Keys...)
		}
	case KindRecovery:
		var p Recovery
		if decode(body.Payload, &p) == nil {
			keys = append(keys, p.Keys...)
		}
	case KindJoin:
		var p Server
		if decode(body.Payload, &p) == nil {
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
