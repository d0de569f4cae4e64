// SPDX-License-Identifier: Apache-2.0

package atrest

import (
	"fmt"

	"claviger/internal/wire"
)

// Type strings of what is said about heads.
const (
	TypeHead     = "claviger/v1/head"
	TypeRollback = "claviger/v1/accept-rollback"
)

// MaxHead bounds a Head or a Rollback, in bytes.
const MaxHead = 1 << 10

// Head is what a server keeps outside the store: how far it has acted, and on
// whose word.
type Head struct {
	_       struct{} `cbor:",toarray"`
	Type    string   // TypeHead
	Domain  wire.DomainID
	Epoch   wire.Epoch
	Head    wire.Hash
	Members wire.Hash // newest link of the member chain
}

// Rollback is what a quorum signs to have a log taken that ends at Head.
type Rollback struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // TypeRollback
	Domain wire.DomainID
	Epoch  wire.Epoch
	Head   wire.Hash
}

// ReadHead reads the head of the file's domain; nil without an error if there is
// no file. ErrSeal or wire.ErrMalformed: it is not what a server wrote there.
func (f File) ReadHead() (*Head, error) {
	plain, err := f.Read([]byte(TypeHead))
	if err != nil || plain == nil {
		return nil, err
	}
	var h Head
	if err := wire.Unmarshal(plain, &h, MaxHead); err != nil || h.Type != TypeHead || h.Domain != f.Box.Domain {
		return nil, fmt.Errorf("%w: head", wire.ErrMalformed)
	}
	return &h, nil
}

// WriteHead replaces the head, as Write does.
func (f File) WriteHead(h Head) error {
	h.Type, h.Domain = TypeHead, f.Box.Domain
	return f.Write(wire.Marshal(h), []byte(TypeHead))
}
