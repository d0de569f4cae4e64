// SPDX-License-Identifier: Apache-2.0

// Package standing is the client's half of standing requests (docs/spec/release.md,
// section 8): releases that servers make ahead of need, when a key has a new version,
// and leave in the mailbox of the client's run.
//
//   - [NewKeys] makes the one-time keys that a request names;
//   - [Requests.Made] and [Requests.Stands] note a request as it is sent and as it is
//     answered, [Requests.Due] says when the next one is due;
//   - [Requests.Open] opens a parcel with the key that fits;
//   - [Requests.Forget] erases everything.
//
// # Threats
//
// Each key opens once: what is played again finds no key. Private halves are kept as
// seeds in protected memory, never on disk, and erased when they have opened
// something, when another request stands in place of theirs, or when nothing is
// leased any more; while one is tried, what is made of it lies on the Go heap.
//
// Nothing is believed here: what was opened goes through trust.View.Ahead.
package standing
