// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"encoding/binary"

	"claviger/internal/wire"
)

// FillNonces makes the verifier remember as many requests of an admin's
// authority key, or of its sessions, as it can.
func (v *AdminVerifier) FillNonces(authority wire.Hash, session bool) (n uint64, err error) {
	for {
		var nonce [16]byte
		binary.BigEndian.PutUint64(nonce[:], n)
		if err := v.nonces.use(bucketKey{key: authority, session: session}, nonce, v.clock.Now().UnixMilli()); err != nil {
			return n, err
		}
		n++
	}
}

// Known is how many chains are remembered.
func (r *Remembered) Known() int { return len(r.known) }
