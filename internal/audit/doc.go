// SPDX-License-Identifier: Apache-2.0

// Package audit keeps a key server's record of its decisions: a journal that is
// durable before an answer leaves, a Merkle tree over it, signed checkpoints of
// the tree, and a verifier that needs nothing but public keys.
//
// # Which function for which need
//
//   - To record a decision: [Log.Enter], which gives the leaf its position at
//     once, then [Ticket.Wait] before the answer leaves. Between the two the
//     answer can be built and signed, the position in it. An error of either
//     means that nothing may be answered.
//   - To store what a leaf names by hash (policy set, schema, attribute
//     records): [Log.Blob] before Enter; [Log.Known] spares hashing a large one
//     again.
//   - To say how far the log is: [Log.Checkpoint], for statements and for the
//     hourly anchor in the authority log.
//   - To read: [Log.Leaves], [Log.ReadBlob]; to hand out: [Log.Export].
//   - To check what was handed out: [NewVerifier], [Verifier.Archive],
//     [Verifier.Report].
//   - To prove that one leaf is in, or that one checkpoint extends another:
//     [Log.ProveLeaf] and [Log.ProveExtension].
//   - To bound what a refused caller can make the log grow: [Budget].
//
// # What is on disk
//
// Each log has a number and a directory of that number: journal (the truth),
// checkpoint (the newest signed one) and tiles.0, tiles.1, … (the tree's
// hashes, derived, mended when wrong). A log that reaches its size limit is closed with a checkpoint
// and the next number begins with a leaf that names the old one's size and
// root, so the numbers form a chain. See docs/audit.md for the bytes.
//
// # Failing closed
//
// The first write, sync or tile that fails ends the log's life in this process:
// everything that waits and everything that comes gets [ErrStopped]. A failed
// sync is never tried again, since the kernel may have forgotten which pages
// were dirty. The next [Open] recovers: a tail that was never acknowledged is
// cut; a log that is damaged before its tail, or shorter than or different from
// what was signed or anchored, is left as it is and the next number begins.
//
// # What this package does not do
//
// It doesn't decide what is recorded, and it can't make an evil server record:
// the grants that clients keep are what finds a leaf that was never written. It
// holds no key material: a [Leaf] has typed, bounded fields and none for a body,
// a credential or a key. It sends nothing anywhere.
package audit
