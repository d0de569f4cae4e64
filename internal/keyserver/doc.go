// SPDX-License-Identifier: Apache-2.0

// Package keyserver is the key server without its doors: the one choke point
// through which every key is used and every change passes, and the life of a
// server from unseal to seal. It knows no HTTP.
//
// # The choke point
//
// Each door turns its credential into an authn.Caller and its request into an
// [Op], and calls [Core.Do]. Inside: collect facts → decide (policy) → derive
// (hierarchy) → record (audit) → answer. A leaf gets its position when it enters
// the group commit, and the answer leaves after the fsync that covers it: no
// durable leaf, no answer. A door can't reach a key in any other way, because
// only the Core holds the hierarchy. [Core.Exchange] and [Core.Enroll] are the
// same for sealed messages, which bring their credential with them.
//
// # Life
//
// datadir.Init founds a domain in a directory. [New] makes a sealed [Server];
// [Server.Unseal] hands it the root secret, replays the authority log and opens
// the Core; [Server.With] is how a door gets at it, for one request at a time, so
// that [Server.Seal] can wait for what runs and then forget everything.
//
// # Where the rest is
//
//   - api: the native HTTP API, the control socket, metrics. It is the door that
//     every server has.
//   - outward: the server's side of relays and directories.
//   - executor: what the log orders: versions, destructions, receipts, backups.
//   - identity: what the server says of itself: descriptors and statements.
//   - anchors: whose certificates name workloads now.
//   - hearsay: what other servers state, and when that stops this one.
//   - standing: requests that are answered again, ahead of need.
//   - holding: who holds which lease, and how far a revocation has come.
//   - policyset: the policy in force, parsed.
//   - sendtoken: the tokens that open its mailboxes.
//   - limits: what bounds a flood, and the memory against replay.
//   - datadir: the files, and how a domain is founded.
//   - keyservertest: a real server for tests.
//
// Not here: translations of foreign protocols (internal/gateway), certificates'
// rules (internal/pki), the encodings (internal/wire).
//
// # Where to look
//
// do.go has the order of things; package rules the ruling on one item; release.go
// and use.go the two ways in which keys are used; certify.go enrolment and
// renewal; duties.go what runs by itself, and alarms.
package keyserver
