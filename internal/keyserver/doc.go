// SPDX-License-Identifier: Apache-2.0

// Package keyserver is the key server: the one choke point through which every
// key is used, and the native API in front of it.
//
// # The choke point
//
// Each door turns its credential into an authn.Caller and its request into an
// [Op], and calls [Core.Do]. Inside: collect facts → decide (policy) → derive
// (hierarchy) → record (audit) → answer. A leaf gets its position when it enters
// the group commit, and the answer leaves after the fsync that covers it: no
// durable leaf, no answer. A door can't reach a key in any other way, because
// only the Core holds the hierarchy.
//
// # Life
//
// [Init] founds a domain in a directory. [New] makes a sealed [Server];
// [Server.Unseal] hands it the root secret, replays the authority log and opens
// the [Core]; [Server.Seal] forgets everything again. [Server.Serve] answers on
// the listeners it is given until its context ends, sealed or not.
//
// # What runs by itself
//
// The executor makes the key versions that people ordered or that fall due,
// carries out destruction orders whose waiting time is over, writes receipts and
// anchors the audit log. All of it is recorded in the authority log, and none of
// it goes beyond what a signed body permits.
//
// # Not here
//
// Translations of foreign protocols (internal/gateway), certificates' rules
// (internal/pki), the encodings (internal/wire).
package keyserver
