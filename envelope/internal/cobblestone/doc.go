// SPDX-License-Identifier: Apache-2.0

// Package cobblestone implements Cobblestone-256, the C2SP chunked-encryption
// v1 format (https://c2sp.org/chunked-encryption) with SHA-512 and AES-256-GCM,
// and nothing around it: no header, no key ids, no files.
//
// A message is 24 bytes of random salt, 32 bytes of key commitment and then
// chunks of 16 KiB, each with a 16-byte tag. The last chunk is always shorter
// than 16 KiB and may be empty, which is how a message shows that it is whole.
//
// Which call for which need:
//   - a short value, whole in memory: [Key.Seal] and [Key.Open];
//   - a stream, a file, random reads: [Key.New] or [Key.Parse] gives a
//     [Message], whose SealRun and OpenRun work on any run of chunks, in any
//     order and from several goroutines at once;
//   - sizes and offsets: [SealedSize], [PlainSize], [Offset].
//
// What it deliberately doesn't have: a choice of algorithm, caller-chosen
// salts, additional data for single chunks, and the format's raw mode, which
// has no key commitment.
//
// Threat notes. A message opens under one key only: the commitment is checked
// before any chunk, in constant time. A run that isn't authentic yields
// nothing, not even the chunks before the bad one. Length is authentic only
// once the final chunk was opened (last = true): who opens the runs before it
// alone must not report a clean end.
package cobblestone
