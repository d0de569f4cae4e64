// SPDX-License-Identifier: Apache-2.0

// Package hearsay judges statements of servers that come by another way than the
// store: clients show the newest they hold, relays and directories keep one of each
// server. They are how a store is found out that goes back, or tells two servers
// two histories.
//
//   - [Open] reads the proofs that earlier runs kept.
//   - [Hearsay.Hear] takes a statement from anyone.
//   - [Hearsay.Look] tries to catch up with what was heard, and raises alarms; call
//     it every few seconds and when [Hearsay.News] says so.
//   - [Hearsay.Err] says why the server must not answer, nil while it may.
//
// A statement on this log, or of an earlier generation, says nothing new. One that
// is ahead has to be reached by the store within two intervals, or the server stops
// and goes on when the store gives it. One that shows another head at a known epoch
// is a fork: both words are kept in the proofs directory, and the server stops until
// people have fenced one of the two, or a quorum has restored.
//
// # Threats
//
// Only statements count whose signature is that of a server which is active in the
// members as this server knows them: who else tells lies costs a verification. An
// evil joined server can stop the others, which is the alarm that leads to its
// fencing. A server whose joining was withheld can't be told from a stranger.
// Together with its head file a single server can be put back unseen, unless a
// client or a board shows it a word of its own.
package hearsay
