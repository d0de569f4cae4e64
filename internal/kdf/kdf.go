// SPDX-License-Identifier: Apache-2.0

// Package kdf names every key that is derived from another one. It is pure
// and shared by whoever derives (hierarchy) and whoever receives (envelope,
// client), so that both sides have one definition.
//
// Which function for which need, from the top:
//
//	DS, R ── Version ──▶ K (a key version) ── VersionCommit ──▶ vc
//	                     └─ Leaf(purpose, partition) ──▶ leaf ── Commit ──▶ kc
//	                                                     ├─ SlotKey
//	                                                     └─ FieldKey
//	R, imported material ── Material ──▶ in the place of K for vc, and of leaf for kc
//	DEK ── HeaderKey
//
// A new use of a key gets a label and a function here, or calls Expand with a
// label of its own; labels are never reused for another shape of fields.
//
// All derivation is HKDF with SHA-512 (RFC 5869). The info of every Expand comes
// from Info: product and protocol version, label, domain id and length-prefixed
// fields, so that two uses, two domains or two ways to split the same bytes into
// fields never share a key. Inputs that are keys already (32 uniform bytes) are
// the PRK as they are.
//
// Outputs that are keys are *secret.Bytes, which the caller wipes. Commitments
// are plain arrays: they are meant to be published. They bind because finding
// two keys with one commitment means a collision in HMAC-SHA512 cut to 256
// bits; they hide because the keys are uniform. Never commit to a password.
//
// The package deliberately knows no root secret (package root derives under
// labels of its own), no algorithms and no formats.
package kdf

import (
	"encoding/binary"
	"fmt"
	"math"

	"claviger/internal/secret"
)

// KeySize is the size in bytes of every derived key.
const KeySize = 32

// prefix starts every label. Its version changes with the meaning of any
// derivation, which then gives other keys throughout.
const prefix = "claviger/v1/"

// The labels of this package.
const (
	labelKey     = "key"     // key id, version, algorithm
	labelVersion = "version" // no fields
	labelLeaf    = "leaf"    // purpose, partition
	labelSlot    = "slot"    // no fields
	labelField   = "field"   // no fields
	labelCommit  = "commit"  // no fields
	labelRaw     = "raw"     // salt
	labelHeader  = "header"  // no fields
)

// Info returns the HKDF info for a label in a domain:
//
//	u8 length ‖ "claviger/v1/" ‖ label ‖ domain (32) ‖ (u32 length ‖ field)*
//
// with lengths big-endian. Different arguments give different bytes, the
// number of fields included. A label that doesn't fit its length byte is a
// programmer error and panics; labels are constants. Fields are bounded by
// their callers, far below the 4 GiB that would panic.
func Info(label string, domain [32]byte, fields ...[]byte) []byte {
	n := len(prefix) + len(label)
	if n > math.MaxUint8 {
		panic(fmt.Sprintf("kdf: label of %d bytes", len(label)))
	}
	size := 1 + n + len(domain)
	for _, f := range fields {
		size += 4 + len(f)
	}
	info := make([]byte, 0, size)
	info = append(info, byte(n))
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, domain[:]...)
	for _, f := range fields {
		if uint64(len(f)) > math.MaxUint32 {
			panic("kdf: field too long")
		}
		info = binary.BigEndian.AppendUint32(info, uint32(len(f)))
		info = append(info, f...)
	}
	return info
}

// Expand derives the 32-byte key that label and fields name from a uniform
// key: HKDF-Expand with key as PRK and Info as info. The fields aren't secret.
func Expand(key *secret.Bytes, domain [32]byte, label string, fields ...[]byte) *secret.Bytes {
	return secret.Expand(key, Info(label, domain, fields...), KeySize)
}

// Version derives K, one version of a key, from the domain secret ds and the
// version secret r (32 bytes each):
//
//	K = HKDF-Expand(HKDF-Extract(salt = r, IKM = ds), Info("key", domain, key id, u64 version, algorithm), 32)
//
// Without r, ds doesn't give K and the other way round: that is what makes
// erasing r destroy the version. The algorithm is in it so that one secret
// never serves two algorithms.
func Version(ds, r *secret.Bytes, domain [32]byte, keyID [16]byte, version uint64, algorithm string) *secret.Bytes {
	prk := secret.ExtractSecret(r, ds)
	defer prk.Wipe()
	number := binary.BigEndian.AppendUint64(nil, version)
	return Expand(prk, domain, labelKey, keyID[:], number, []byte(algorithm))
}

// Material derives what stands in the place of K, for VersionCommit, and of
// the leaf, for Commit, when a version's key isn't derived but stored: RSA,
// imported or registered material. It is HKDF-Extract(salt = r, IKM =
// material), 64 bytes; r keeps guesses at weak material from being checked
// against the public commitments.
func Material(r, material *secret.Bytes) *secret.Bytes {
	return secret.ExtractSecret(r, material)
}

// VersionCommit derives vc, the public commitment to a key version that stands
// in the version's log entry and is checked at each unwrap. k is K, or the
// result of Material.
func VersionCommit(k *secret.Bytes, domain [32]byte) [32]byte {
	return public(Expand(k, domain, labelVersion))
}

// Leaf derives the key for one purpose ("data", "wrap", …) and partition: what
// a release carries. The partition is any bytes, taken as they are; empty is a
// partition like any other.
func Leaf(k *secret.Bytes, domain [32]byte, purpose string, partition []byte) *secret.Bytes {
	return Expand(k, domain, labelLeaf, []byte(purpose), partition)
}

// SlotKey derives from a leaf the key that wraps DEKs in a ciphertext's slots.
func SlotKey(leaf *secret.Bytes, domain [32]byte) *secret.Bytes {
	return Expand(leaf, domain, labelSlot)
}

// FieldKey derives from a leaf the key that encrypts single fields, as of a
// database column.
func FieldKey(leaf *secret.Bytes, domain [32]byte) *secret.Bytes {
	return Expand(leaf, domain, labelField)
}

// RawKey derives from a leaf the key of one message in the raw form, for
// protocols whose ciphertext may be no longer than its plaintext. The salt is
// random and goes with the message.
func RawKey(leaf *secret.Bytes, domain [32]byte, salt []byte) *secret.Bytes {
	return Expand(leaf, domain, labelRaw, salt)
}

// Commit derives kc, the public commitment to a leaf that stands in signed
// releases and audit leaves; whoever receives a key checks it. For stored
// material leaf is the result of Material.
func Commit(leaf *secret.Bytes, domain [32]byte) [32]byte {
	return public(Expand(leaf, domain, labelCommit))
}

// HeaderKey derives from a ciphertext's DEK the HMAC key over its header.
func HeaderKey(dek *secret.Bytes, domain [32]byte) *secret.Bytes {
	return Expand(dek, domain, labelHeader)
}

// public turns a derived commitment into an array.
func public(b *secret.Bytes) (out [32]byte) {
	copy(out[:], b.Expose())
	b.Wipe()
	return out
}
