// SPDX-License-Identifier: Apache-2.0

// Package keywork does with keys what the choke point decided: it derives the
// keys that releases carry, and seals, opens, signs, verifies and authenticates
// for callers who let the server do so.
//
//   - Named says what an operation of the API means to policy.
//   - FromCiphertext says which key a ciphertext needs.
//   - Worker.Derive and Worker.Do are the work itself.
//
// A Worker keeps keys that are ready for use, because deriving one costs more
// than using it. What is kept is found by everything that it was derived from,
// the version's commitment and place in the erasure epoch included, so a key that
// changed is another one. It is never an answer to whether somebody may use a
// key: that is decided for each item, before anything here is called. The number
// of kept keys is bounded; those that leave are wiped, and Forget wipes all when
// the erasure epoch changes and when the server is sealed.
//
// The package decides nothing and records nothing.
package keywork
