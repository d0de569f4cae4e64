// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DomainID names a trust domain: the hash of its genesis.
type DomainID [32]byte

// KeyID names a key for ever: 16 random bytes, never used again.
type KeyID [16]byte

// ServerID names a key server: the first 16 bytes of the hash of its signing
// key. The join entry in the member chain gives it meaning.
type ServerID [16]byte

// BodyID names a body of the authority log: 16 random bytes chosen by whoever
// wrote it, so that it is applied once.
type BodyID [16]byte

// RevocationID names a key, a key version or a client in statements: 16 random
// bytes that stand in no ciphertext, so that a relay learns nothing from them.
type RevocationID [16]byte

// Hash is a SHA-256 value.
type Hash [32]byte

// RevokeEverything is the reserved revocation id that means every key of the
// domain.
var RevokeEverything = RevocationID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Epoch is a place in the authority log. Generation rises only with a
// quorum-signed restore; Position counts records, the genesis being 1.
type Epoch struct {
	_          struct{} `cbor:",toarray"`
	Generation uint64
	Position   uint64
}

// Compare returns -1, 0 or +1 as e lies before, at or after o.
func (e Epoch) Compare(o Epoch) int {
	switch {
	case e.Generation != o.Generation && e.Generation < o.Generation:
		return -1
	case e.Generation != o.Generation:
		return 1
	case e.Position < o.Position:
		return -1
	case e.Position > o.Position:
		return 1
	}
	return 0
}

// String gives the epoch as generation.position.
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Generation, e.Position) }

// ParseEpoch reads what Epoch.String writes, and nothing else.
func ParseEpoch(text string) (Epoch, error) {
	generation, position, _ := strings.Cut(text, ".")
	g, errG := strconv.ParseUint(generation, 10, 64)
	p, errP := strconv.ParseUint(position, 10, 64)
	e := Epoch{Generation: g, Position: p}
	if errG != nil || errP != nil || e.String() != text {
		return Epoch{}, fmt.Errorf("%w: an epoch is two numbers with a dot between", ErrMalformed)
	}
	return e, nil
}

// String gives the id in lower-case hexadecimal.
func (d DomainID) String() string { return hex.EncodeToString(d[:]) }

// String gives the id in lower-case hexadecimal.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// String gives the id in lower-case hexadecimal.
func (s ServerID) String() string { return hex.EncodeToString(s[:]) }

// String gives the id in lower-case hexadecimal.
func (b BodyID) String() string { return hex.EncodeToString(b[:]) }

// String gives the id in lower-case hexadecimal.
func (r RevocationID) String() string { return hex.EncodeToString(r[:]) }

// String gives the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zero, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// Sum hashes a label and any number of parts, each preceded by its length as a
// 64-bit big-endian integer, so that no two lists of parts share an input.
func Sum(label string, parts ...[]byte) Hash {
	h := sha256.New()
	var size [8]byte
	write := func(p []byte) {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	write([]byte("claviger/v1/" + label))
	for _, p := range parts {
		write(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}

// KeyHash is the SHA-256 of a public key's PKIX SubjectPublicKeyInfo in DER
// (RFC 5280, section 4.1). The zero hash is returned for a key of a kind that
// is not accepted here: only Ed25519 and ECDSA P-256 are.
func KeyHash(pub crypto.PublicKey) Hash {
	der := spki(pub)
	if der == nil {
		return Hash{}
	}
	return sha256.Sum256(der)
}

// ServerIDOf is the id of the server with the given signing key.
func ServerIDOf(pub crypto.PublicKey) ServerID {
	h := KeyHash(pub)
	return ServerID(h[:16])
}

// What the DER of a key begins with, the key being the rest: the 32 bytes of an
// Ed25519 key (RFC 8410, section 4), or the uncompressed point of a P-256 key, of 65
// (RFC 5480, section 2). Each verification names its key so, and the general
// encoder costs more than the hash.
const (
	ed25519Head = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
	p256Head    = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
)

// spki returns the DER of an accepted key, nil for any other.
func spki(pub crypto.PublicKey) []byte {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil
		}
		return slices.Concat([]byte(ed25519Head), k)
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return nil
		}
		point, err := k.Bytes()
		if err != nil { // it isn't on the curve
			return nil
		}
		return slices.Concat([]byte(p256Head), point)
	default:
		return nil
	}
}
