// SPDX-License-Identifier: Apache-2.0

// Package snapshot keeps a server's own copy of what it folded from the authority
// log, so that a start needn't verify every signature again. It knows the file and
// its seals; what stands in the parts is package authority's.
//
//   - [Keeper] is what a log has: it loads the snapshot at the start, and writes
//     one at a stop and whenever enough was appended, beside the work.
//   - [Section] says how one field goes through a snapshot: [Value], [List], [Map],
//     [Hashes], or [Packed] for what packs itself.
//   - [Trail] runs over the records as the store holds them, so that a start can
//     tell that they are byte for byte those from which the snapshot was made.
//   - [File] and [Reader] are the file: a header that says of which log, server,
//     record and program it is, and sealed parts, of which no more than a few are
//     in memory at once.
//
// # What it deliberately does not do
//
// A snapshot is a cache. Nothing is lost with it, nobody else reads it, it is in
// no backup, and no other program reads it, not even the next version of this
// one: rules of the fold may have changed. Whoever finds anything wrong with one
// takes it away and replays the log.
//
// # Threats
//
// Parts are sealed under a root-derived key and bound to the file, their place in
// it and its end: who has no server can't make, change, cut or mix them. They can
// put an older snapshot of the same server back; that is the log's own past, and
// the rest of the log is folded onto it. A snapshot never speaks for the store:
// what lies below it is compared by [Trail] before anything is served.
package snapshot
