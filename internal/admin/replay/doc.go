// SPDX-License-Identifier: Apache-2.0

// Package replay folds the authority log on an admin's machine, and makes it
// quick to do so again.
//
//   - [Log.Fold] takes a record that a server showed; [Log.Read] takes those that
//     a cache holds, which [AppendRecord] wrote.
//   - [Log.Verified] says what was verified; given to Read next time, it spares
//     the arithmetic of signatures, the larger part of a replay.
//
// # What it deliberately does not do
//
// It keeps no file. And it takes nothing of the state from a cache: every record
// is folded again under the rules of package authority, with who may sign what,
// whatever is remembered.
//
// # Threats
//
// A server must not be able to plant a record. What is remembered is therefore
// neither that a record holds nor that a log is good, but which signatures of
// which record verified: a record with a false one stays void for ever, although
// it lies in the chain below a head that was believed. And it counts only if the
// records that were read lead to the very head that it was made for: the head
// fixes every byte of them, so a mark can't be moved to another message. Until
// that is clear, nothing of the state is given out.
//
// Who can write the file of marks can forge signatures towards this one admin.
// That is who can write the profile, its pin and its remembered head beside it;
// what the admin signs on such a state names a base that no honest server has,
// and is void there.
package replay
