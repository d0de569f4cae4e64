// SPDX-License-Identifier: Apache-2.0

// Package standing keeps standing requests and has a release made ahead of need
// when a key gets a new version (docs/spec/release.md, section 8).
//
//   - [Open] reads what earlier runs and other servers keep.
//   - [Standing.Keep] keeps the standing part of a request that was answered.
//   - [Standing.Run] follows the log: it claims a one-time key, has the choke point
//     decide and make the release, and hands it to who carries it.
//   - [Standing.Gone] removes those of a holder that has ended.
//   - [Standing.Count] is how many are kept.
//
// A request is a slot of the store, sealed under a root-derived key, so it survives
// a restart and any joined server may answer it. Its name there is a MAC of client
// and mailbox: the store learns how many clients have one, and not which.
//
// # One-time keys
//
// A key is claimed by a compare-and-swap that takes it out of the slot before
// anything is sealed to it, and it is never put back: of servers that race one
// wins, and after a crash the key is spent, released to or not. What was claimed
// and not delivered within a minute costs the client another of its keys.
//
// # Threats
//
// A store that puts back an old slot can have a key claimed twice: a second leaf
// and a second parcel, which the client can't open, because it forgets a private
// half when it has used it. It can also drop slots: clients then ask, as those
// without a standing request do. Values that don't open are passed over.
//
// # Not here
//
// Who may have a key (the choke point decides each release anew, with the facts of
// its moment), the messages' encoding (internal/wire), carrying (outward).
package standing
