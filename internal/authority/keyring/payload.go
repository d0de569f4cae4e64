// SPDX-License-Identifier: Apache-2.0

package keyring

import "claviger/internal/wire"

// Create makes a key; its first version follows in a record of a server.
type Create struct {
	_          struct{} `cbor:",toarray"`
	ID         wire.KeyID
	Name       string
	Algorithm  string
	Settings   Settings
	Revocation wire.RevocationID // random
	Reason     string
}

// SetSettings replaces a key's settings.
type SetSettings struct {
	_        struct{} `cbor:",toarray"`
	ID       wire.KeyID
	Settings Settings
	Reason   string
}

// Ref names a key.
type Ref struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Reason string
}

// VersionRef names a version.
type VersionRef struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Number uint64
	Reason string
}

// Destroy orders the destruction of a version, or of all versions of a key
// (Number 0), at the earliest Wait seconds after the order's record.
type Destroy struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Number uint64
	Wait   uint64
	Reason string
}
