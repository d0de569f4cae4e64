// SPDX-License-Identifier: Apache-2.0

package identity

import "claviger/internal/wire"

// Word signs this server's word on one record of its log, for a proof that another
// server tells another history. It is kept, not told: who met it would take the
// server for one that went back.
func (id *Identity) Word(at wire.Epoch, head wire.Hash) ([]byte, error) {
	now := id.o.Clock.Now().UnixMilli()
	told, err := id.o.Log.Told(now)
	if err != nil {
		return nil, err
	}
	return wire.Sign(wire.TypeStatement, wire.Marshal(wire.Statement{
		Type: wire.TypeStatement, Domain: id.o.Domain, Server: id.o.Server, Epoch: at, Head: head,
		Checkpoint: told.Checkpoint, Members: told.Members, Issued: now,
	}), id.o.Signer)
}
