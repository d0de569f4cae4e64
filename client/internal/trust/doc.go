// SPDX-License-Identifier: Apache-2.0

// Package trust decides what a client believes. Everything that comes from a
// server or a relay passes through a [View] before it has an effect:
//
//   - [View.Introduce] turns an introduction into a [Peer]: a server that the
//     pinned domain's member chain names and does not fence;
//   - [View.Ask], [View.Answer]: a request for keys and the proof that a release
//     answers it, field by field;
//   - [View.Enrol], [View.Renew], [View.Enrolled]: the same for certificates;
//   - [View.Statement]: news of the domain's state and of what is revoked;
//   - [View.Age] says how old the newest believed word on a lease is.
//
// The numbered checks are those of docs/spec/release.md, section 4.
//
// # What is remembered
//
// The newest member chain, the [Mark] (epoch, head, audit checkpoints) and the
// proofs of lies go to a [Keeper] before anything that rests on them is used.
//
// # Time
//
// No wall clock is believed. For each server the View keeps when, by that
// server's clock, it signed its last answer that holds a nonce of ours, and when
// by our clocks the question left. Elapsed time is the larger of what the boot
// clock and the wall clock show, so neither a suspended machine nor a clock set
// back makes a lease longer; a clock set forward makes it shorter.
//
// The package does no network and keeps no keys beyond the [Answer] that it
// returns.
package trust
