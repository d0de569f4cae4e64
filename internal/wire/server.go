// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto"
	"fmt"
)

// Type strings of what servers say of themselves.
const (
	TypeDescriptor = "claviger/v1/descriptor"
	TypeStatement  = "claviger/v1/statement"
)

// Limits.
const (
	MaxDescriptor   = 4 << 10
	MaxIntroduction = MaxMembers + 3*MaxDescriptor
	MaxStatement    = 96 << 10
	MaxRevocations  = 4096 // revocation ids in one statement
)

// Descriptor says how to reach one server and which key to seal to. It is
// signed by the server's signing key and may come by any route.
type Descriptor struct {
	_        struct{} `cbor:",toarray"`
	Type     string   // TypeDescriptor
	Domain   DomainID
	Server   ServerID
	HPKE     []byte // public key to seal requests to, 1216 bytes; new at each start and each day
	TLS      Hash   // SHA-256 of the SubjectPublicKeyInfo of the server's TLS key
	Mailbox  Hash   // mailbox at relays; zero without
	Issued   int64  // Unix milliseconds
	NotAfter int64  // Unix milliseconds, at most 24 hours after Issued
}

// Introduction is a signed descriptor with the member chain that makes it
// believable: signed bodies, the genesis first.
type Introduction struct {
	_          struct{} `cbor:",toarray"`
	Descriptor []byte
	Members    [][]byte
}

// Checkpoint is the newest checkpoint of a server's audit log.
type Checkpoint struct {
	_    struct{} `cbor:",toarray"`
	Log  uint64   // log number of this server
	Size uint64   // leaves
	Root Hash     // RFC 6962 tree hash
}

// Statement is a server's word on the present state, signed every 30 seconds.
type Statement struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeStatement
	Domain     DomainID
	Server     ServerID
	Epoch      Epoch
	Head       Hash
	Checkpoint Checkpoint
	Members    Hash           // BodyHash of the newest members body
	Issued     int64          // Unix milliseconds
	Revoked    []RevocationID // every revocation whose longest lease has not ended
}

// maxDescriptorLife is 24 hours in milliseconds.
const maxDescriptorLife = 24 * 3600 * 1000

// ParseDescriptor reads a signed descriptor and verifies its signature with the
// server's joined key. Times are the caller's to check.
func ParseDescriptor(signed []byte, key crypto.PublicKey) (*Descriptor, error) {
	var d Descriptor
	if err := openSigned(TypeDescriptor, signed, MaxDescriptor, key, &d); err != nil {
		return nil, err
	}
	return &d, d.check()
}

// PeekDescriptor reads a descriptor without believing it, to learn which
// server's key should verify it.
func PeekDescriptor(signed []byte) (*Descriptor, error) {
	var d Descriptor
	if err := peek(TypeDescriptor, signed, MaxDescriptor, &d); err != nil {
		return nil, err
	}
	return &d, d.check()
}

func (d *Descriptor) check() error {
	life := d.NotAfter - d.Issued
	if d.Type != TypeDescriptor || len(d.HPKE) != PublicKeySize || !validTime(d.Issued) || life <= 0 || life > maxDescriptorLife {
		return fmt.Errorf("%w: descriptor", ErrMalformed)
	}
	return nil
}

// ParseIntroduction reads an introduction; neither chain nor descriptor is
// verified yet.
func ParseIntroduction(data []byte) (*Introduction, error) {
	var in Introduction
	if err := Unmarshal(data, &in, MaxIntroduction); err != nil {
		return nil, err
	}
	return &in, nil
}

// ParseStatement reads a signed statement and verifies its signature with the
// server's joined key.
func ParseStatement(signed []byte, key crypto.PublicKey) (*Statement, error) {
	var s Statement
	if err := openSigned(TypeStatement, signed, MaxStatement, key, &s); err != nil {
		return nil, err
	}
	return &s, s.check()
}

// PeekStatement reads a statement without believing it.
func PeekStatement(signed []byte) (*Statement, error) {
	var s Statement
	if err := peek(TypeStatement, signed, MaxStatement, &s); err != nil {
		return nil, err
	}
	return &s, s.check()
}

func (s *Statement) check() error {
	if s.Type != TypeStatement || !validTime(s.Issued) || len(s.Revoked) > MaxRevocations {
		return fmt.Errorf("%w: statement", ErrMalformed)
	}
	return nil
}

// openSigned parses a signed message, verifies key's signature and decodes the
// payload into v.
func openSigned(typ string, signed []byte, limit int, key crypto.PublicKey, v any) error {
	parsed, err := ParseSigned(typ, signed, limit)
	if err != nil {
		return err
	}
	if err := parsed.Verify(key); err != nil {
		return fmt.Errorf("verify %s: %w", typ, err)
	}
	return Unmarshal(parsed.Payload, v, limit)
}

func peek(typ string, signed []byte, limit int, v any) error {
	parsed, err := ParseSigned(typ, signed, limit)
	if err != nil {
		return err
	}
	return Unmarshal(parsed.Payload, v, limit)
}
