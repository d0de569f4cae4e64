// SPDX-License-Identifier: Apache-2.0

// Package keyring holds what the authority log says about keys: their names,
// settings and versions, never key material.
//
//   - [Key], [Version], [Settings] are what readers see, and what the payloads of
//     the log are made of; their methods are the rules that need nothing else.
//   - [Ring] keeps any number of keys. Nearly all of them are idle at any moment,
//     so a Ring keeps each packed, as a row of some 200 bytes without pointers that
//     the collector would have to follow, and unpacks it when it is asked for:
//     [Ring.Get], [Ring.Named]. [Ring.Scan] looks at all of them and allocates
//     nothing.
//   - [Ring.Rows], [Split] and [Ring.Add] carry rows through a snapshot as they are.
//
// A row is one array in deterministic CBOR, the encoding of package wire, written
// out here by hand: with reflection, a million keys would take longer to unpack
// than a server may take to start.
//
// # What it deliberately does not do
//
// It decides nothing about records: package authority does, which alone changes a
// Ring. It takes no lock.
//
// # Threats
//
// Rows come from this package, or from a snapshot that only a server can have
// sealed. They are read strictly all the same: what [Ring.Put] would not have
// written is refused, and no row makes a reader allocate more than its size
// allows.
package keyring
