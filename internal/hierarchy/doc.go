// SPDX-License-Identifier: Apache-2.0

// Package hierarchy derives the keys of a trust domain and destroys them. The
// format is written down in docs/spec/hierarchy.md.
//
// Every key version comes from two secrets: the domain secret DS, which custody
// of the root derives, and the version secret R, 32 random bytes that lie
// sealed in a slot. DS makes the customer the root of trust; R can be erased,
// so that a destroyed version stays destroyed although the root lives on. R is
// sealed under a segment key, the segment key under the erasure-epoch key
// EEK(e), and EEK(e) exists in one small local file per server.
//
// # Which function for which need
//
//   - A domain is born: [Generate] gives the public epoch key for the genesis,
//     [Init] writes the first epoch file. A further server starts with [Join],
//     gets its [Grant] from a running one ([Hierarchy.Grant]) and takes it with
//     [Hierarchy.Accept].
//   - A server starts: [Open], with the newest switch that the log knows. It
//     finishes an erasure that a crash interrupted, before it serves anything.
//   - A key gets a version: [Hierarchy.NewVersion], or [Hierarchy.Import] for
//     material from elsewhere. What they return belongs into the log.
//   - A key is released or used: [Hierarchy.Leaf], [Hierarchy.Commit],
//     [Hierarchy.Sign], [Hierarchy.Verify], [Hierarchy.PublicKey],
//     [Hierarchy.MAC], [Hierarchy.Material].
//   - Versions are destroyed: [Hierarchy.PlanErasure] prepares a [Switch]; the
//     caller appends it to the log; then every server calls
//     [Hierarchy.Erase] and signs the [Receipt]. When all receipts are in,
//     [Hierarchy.Sweep] tidies the slots.
//   - A backup: [Hierarchy.Backup], [ReadBackup].
//   - Other root-derived keys: [LocalSeal], [BodySeal], [SlotSeal],
//     [BackupSeal], [CASeed].
//
// # What it deliberately does not do
//
// It writes no log, signs nothing for the log, knows no policy and no version
// states: it returns what must be recorded and takes what was recorded. It does
// not decide who may destroy. It does not ask whether a version is revoked.
//
// # Threats
//
// The slots are untrusted: whoever controls them can withhold, and put back old
// values, but every blob is bound to its domain, key, version, segment or epoch
// and commits to its key, and the version commitment in the log is checked at
// each unwrap. EEKs that arrive from outside are sealed to this server's epoch
// key and beneath that under a root-derived key, since sealing to a public key
// alone would let the store slip in an EEK of its own. Erasure reaches the media
// this server controls, through the file layer it is given: snapshots and raw
// copies of the data directory are backups that can revive what was destroyed,
// and so is the store for whoever kept an epoch file.
package hierarchy
