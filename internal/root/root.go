// SPDX-License-Identifier: Apache-2.0

// Package root keeps the root secret of a trust domain: 32 random bytes from
// which every key is derived, sealed on disk in one custody file.
//
// # Which function for which need
//
//   - [Create] makes a new root secret and seals it: under a passphrase, under
//     a key file (a systemd credential, for starts without a person), or in
//     k-of-n shares, each sealed to one custodian's age recipient.
//   - [Open] unseals it with what [Unlock] carries. [Describe] tells without
//     unlocking what that has to be. [Drill] recovers from disk and returns the
//     fingerprint alone.
//   - [SealedShare] gives a custodian's share as an age file, [CheckShare]
//     judges a decrypted share alone, before the others are collected.
//   - [Reseal] puts the same secret under another passphrase or new shares.
//   - [Export] and [Import] carry the custody file, as it is, through a backup.
//   - [Secret.Derive] is the only use of an open root.
//
// Consumers declare the one method they need,
//
//	type Custody interface {
//		Derive(label string, fields ...[]byte) (*secret.Bytes, error)
//	}
//
// so that a root inside an HSM, which derives by its own function and shows no
// secret, can stand in its place. Package roottest checks what all have to do.
//
// # What it does not do
//
// It asks nobody for a passphrase and decrypts no age file: the caller hands
// in what a person typed or a custodian decrypted with age(1). It keeps no
// record of openings. Resealing takes nothing back: whoever kept the old file
// and the old passphrase, or enough old shares, still has the secret. Only a
// new root generation helps against that.
//
// # Threats
//
// Whoever has the custody file can guess the passphrase offline, slowed down by
// Argon2id alone. Fewer than k shares say nothing about the secret, not even
// together with the custody file, whose commitments are keyed by a salt that
// only the share holds. Changing the file makes opening fail: its description is
// authenticated by the seal, and in shares by the hash that every share
// carries. Replacing it as a whole by another root's file is found by comparing
// fingerprints: callers compare [Secret.Fingerprint] with the one they know.
// Argon2id and age work in ordinary memory, which this package can't wipe; with
// a key file, or when opening from shares, the secret stays in protected memory.
//
// Under GODEBUG=fips140=only passphrases are refused (Argon2id), and so is the
// making of shares: both kinds of age file use ChaCha20-Poly1305. Key files, and
// opening from shares that were made elsewhere, work.
package root

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"claviger/internal/secret"
)

// Size is the length of a root secret and of its fingerprint in bytes.
const Size = 32

// MaxField is the length in bytes that a field of Derive may have.
const MaxField = 64 << 10

// ErrWiped says that the secret was wiped: the server is sealed.
var ErrWiped = errors.New("root secret is wiped")

// Secret is an unsealed root secret in protected memory. It is safe for
// concurrent use, Wipe included.
type Secret struct {
	generation  uint64
	fingerprint [Size]byte

	mu    sync.RWMutex // write-held by Wipe alone
	bytes *secret.Bytes
}

// newSecret takes over bytes, which has Size bytes.
func newSecret(bytes *secret.Bytes, generation uint64) *Secret {
	fingerprint := secret.Expand(bytes, info("fingerprint"), Size)
	defer fingerprint.Wipe()
	return &Secret{generation: generation, fingerprint: [Size]byte(fingerprint.Expose()), bytes: bytes}
}

// Derive returns 32 bytes that depend on the root secret, label and fields:
// HKDF-Expand-SHA512 (RFC 5869; the secret is uniform, so it serves as the
// pseudorandom key) with an info in which every part has its length before it,
// so that no two calls share an output unless label and all fields agree. It
// returns ErrWiped after Wipe, and an error for an empty label or a field
// longer than MaxField. The caller wipes the result.
func (s *Secret) Derive(label string, fields ...[]byte) (*secret.Bytes, error) {
	if label == "" {
		return nil, errors.New("derive from root: empty label")
	}
	for _, field := range fields {
		if len(field) > MaxField {
			return nil, fmt.Errorf("derive from root: field of %d bytes (at most %d allowed)", len(field), MaxField)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.bytes == nil {
		return nil, ErrWiped
	}
	return secret.Expand(s.bytes, info("derive", append([][]byte{[]byte(label)}, fields...)...), Size), nil
}

// Fingerprint names the secret without saying anything else about it: two roots
// are the same if and only if their fingerprints are. It is public, and stays
// readable after Wipe.
func (s *Secret) Fingerprint() [Size]byte { return s.fingerprint }

// Generation is the root generation, from 1. It stands in each key version's
// entry and changes only with a new root; it is not part of Derive.
func (s *Secret) Generation() uint64 { return s.generation }

// Wipe erases the secret from memory. Derive then returns ErrWiped. It may be
// called again and beside running calls of Derive, for which it waits.
func (s *Secret) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes.Wipe()
	s.bytes = nil
}

// String returns the generation and the start of the fingerprint.
func (s *Secret) String() string {
	return fmt.Sprintf("root generation %d, fingerprint %x", s.generation, s.fingerprint[:8])
}

// info frames what a derivation, commitment or seal of this package is for:
// label and each field with its length before it, which makes it injective.
func info(label string, fields ...[]byte) []byte {
	const domain = "claviger/root/v1/"
	out := append([]byte{byte(len(domain) + len(label))}, domain...)
	out = append(out, label...)
	for _, field := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return out
}
