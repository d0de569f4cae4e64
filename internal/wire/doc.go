// SPDX-License-Identifier: Apache-2.0

// Package wire holds every message that leaves a process of Claviger, its one
// encoding and its signatures.
//
// # Encoding
//
// Messages are CBOR in core deterministic encoding (RFC 8949, section 4.2.1),
// each struct an array of fixed length whose first element is the message's
// type string. [Unmarshal] checks the size limit before it decodes, refuses
// whatever deterministic encoding forbids, encodes the result again and
// compares the bytes: a value has exactly one encoding, so hashes and
// signatures over it can't be made ambiguous.
//
// # Signatures
//
// A signed message is a COSE_Sign structure (RFC 9052, section 4.1; tag 98)
// whose external AAD is the message's type string. A signature over one type
// can therefore never be taken for a signature over another. [Sign] and
// [SignChain] make one, [ParseSigned] reads one without trusting it, and
// [Signed.Verify] checks the signature of one named key. Who has to sign is not
// decided here: that is the job of packages members and authority.
//
// # Sealing
//
// [Seal] and [Key.Open] carry a message to one recipient with HPKE (RFC 9180),
// base mode, KEM MLKEM768-X25519 (0x647a), HKDF-SHA256, AES-256-GCM. HPKE
// authenticates no sender: whatever is sealed is signed inside.
//
// # What this package does not do
//
// It keeps no state, knows no clock and decides nothing. A parsed message is
// well formed, not true.
package wire
