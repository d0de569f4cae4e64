// SPDX-License-Identifier: Apache-2.0

// Package authkey holds authority keys: the Ed25519 keys with which people sign
// changes of a trust domain.
//
//   - [Generate] makes one, [Seal] puts it into a file, under a passphrase or
//     under the random content of a key file; [Open] opens that file. [Read] tells
//     whose it is without opening it.
//   - [FormatPublic] and [ParsePublic] are the text form of public keys,
//     [FormatNamed] and [ParseNamed] that of NAME=PUBKEY.
//
// It asks nobody for anything and touches no disk. A [Key] lies in protected
// memory; crypto/ed25519 signs in ordinary memory, which is wiped afterwards.
//
// Whoever has a file can try passphrases against it, slowed down by Argon2id
// alone. Under GODEBUG=fips140=only passphrases are refused and key files work.
package authkey
