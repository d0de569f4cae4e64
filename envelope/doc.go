// SPDX-License-Identifier: Apache-2.0

// Package envelope is Claviger's ciphertext format: what it writes and reads is
// specified byte by byte in docs/spec/envelope.md.
//
// An object is a header followed by a body, or both apart. The body is sealed
// under a data key (DEK) made for it alone; the header holds one to 32 slots,
// each a sealed copy of that DEK for another key. So a new key needs a new
// header only, and the body stays where it is.
//
// The package knows no network and holds no keys of its own. What can seal a
// DEK is a [Wrapper], what can find it again an [Unwrapper]; each has one
// method. [LeafKey] is both, over the 32 bytes that a key server releases, and
// [Keys] opens with several of them.
//
// Which call for which need:
//
//   - bytes in memory: [Encrypt], [Decrypt]; into memory that is there: [Sealer.Append], [Opener.Append];
//   - a stream, as it comes: [NewWriter], [NewReader];
//   - a long stream, as fast as possible: [EncryptStream], [DecryptStream];
//   - a file, on all processors: [EncryptFile], [DecryptFile];
//   - parts of a large object: [NewReaderAt];
//   - a short value in a database column: [LeafKey.SealField], [LeafKey.OpenField];
//   - header and body stored apart: [NewSealer], [NewOpener];
//   - another key for an object that exists: [Rewrap];
//   - which key an object needs: [Inspect], [InspectField].
//
// What it deliberately doesn't have: a choice of algorithms, trial of several
// keys, padding, compression, and a way to use one DEK for two bodies.
//
// # Context
//
// [Options.Context] binds an object to its place: name it after whatever
// would make a swap a lie (bucket, object name and version; table, column and
// row id). It isn't stored; the reader gives the same bytes. Without one, whoever
// controls the storage can put one whole object of a key and partition in place
// of another, or an old one in place of the new.
//
// # Errors
//
// [ErrFormat], [ErrNoKey] and [ErrIntegrity] are all that a hostile ciphertext can
// cause; [ErrVersion] is an ErrFormat that a newer package may read. Trouble of a source, destination or Wrapper comes back wrapped.
//
// # Threat notes
//
// No byte of plaintext leaves before its chunk is authentic, and none of a
// wrong key's: everything is key-committing. A stream that ends early is
// ErrIntegrity, never a clean end, but what came before is out by then: a
// consumer that acts on a part has to be prepared to undo it. The length of the
// plaintext, key id, version and (unless hidden) the partition are public.
// Everyone who can open an object can also make one: keys are symmetric.
package envelope
