// SPDX-License-Identifier: Apache-2.0

// Package ahead does the work on a record of the authority log that needs no
// state, before the fold and on every processor: to parse it and to verify its
// signatures. The fold itself is one step after the other, and takes a quarter of
// the time.
//
//   - [Parse] reads a record's entry; [Record.Verify] verifies the signatures of
//     keys that are known by now.
//   - [Map] does such work on several items at once and gives them back in order.
//
// # What it deliberately does not do
//
// It judges nothing. Who may sign what, and with which standing, is asked by the
// fold at the record's turn; what is found here only spares it the arithmetic. A
// record that was not looked at, or whose key was not known yet, is verified
// there, so leaving this package out costs time and nothing else.
//
// # Threats
//
// A key is found by its hash, which the signature names: no state, and no race
// with one, can make a signature count for another key. What is remembered stands
// in the parsed message itself ([wire.Signed.VerifyAhead]) and never in a table
// beside it.
package ahead
