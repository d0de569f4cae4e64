// SPDX-License-Identifier: Apache-2.0

// Package admin is an administrator's side of a trust domain: the profile with
// the authority key, a verified copy of the authority log, and the signing of
// changes.
//
// # Which function for which need
//
//   - [CreateProfile] makes a profile with a new, sealed authority key;
//     [OpenProfile] reads one; [Profile.Join] pins it to a domain.
//   - [Connect] reaches a server, verifies it against the pin, replays the log
//     and gives a [Session]. [Offline] replays what the profile holds already.
//   - [Session.State] is the verified state; [Session.Propose] signs a change
//     and brings it to the server; [Session.Sign] adds a signature to a change
//     that waits, which [Session.Pending] lists.
//   - [change.Describe] says what a signed entry does, from the signed bytes alone.
//   - [Session.Status], [Session.Audit], [Session.Export], [Session.Backup] read
//     what a server knows beyond the log.
//
// # What is believed
//
// A server can withhold, and nothing else. Its introduction has to lead from the
// pinned domain id to its own key. Every record that it streams is checked as
// servers check them (package authority), and has to go on from the head that
// the profile saw last; a history that does not is refused with [ErrRollback] and
// kept under proofs/. What is signed here is made here, or shown by [change.Describe]
// first.
//
// # What it does not do
//
// It asks nobody for a passphrase and prints nothing: the caller hands in a
// function that opens the key, which is called only when something must be
// signed. Reading needs no signature by the authority key for an hour after one:
// a read-only session key lies in the profile meanwhile.
//
// # Threats
//
// Whoever can read a profile may try passphrases offline against Argon2id. A key
// file beside it opens it at once: that is for demos and machines, and
// [Profile.KeyFile] says so. The bytes of the key pass through ordinary memory
// while crypto/ed25519 signs and are wiped afterwards. Whoever can write to the
// profile can make it forget the head, and so accept an old history, or take
// signatures for verified that are not (package replay).
package admin
