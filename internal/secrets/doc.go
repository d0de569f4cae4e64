// SPDX-License-Identifier: Apache-2.0

// Package secrets is the document that a versioned secret is: its versions, what
// is said about them, and its settings.
//
//   - [New], [Decode] and [Document.Encode]: a document in memory and in bytes.
//   - [Document.Put], [Document.Patch], [Document.Delete], [Document.Undelete],
//     [Document.Destroy], [Document.Configure]: what can be done to one.
//   - [Document.Find] reads a version, [Document.Wipe] forgets all data.
//   - [Merge] is JSON merge patch, [Subkeys] what is left of data without its values.
//
// It is pure: package secretwork of the key server seals documents, keeps them and
// asks policy.
//
// # What it deliberately does not do
//
// It gives data no meaning beyond "a JSON object": which members a secret has is
// for who writes it. It keeps no history of metadata.
//
// # Threats
//
// Data comes from strangers whom policy lets write: its size, depth and number of
// versions are bounded, and two members of one name are refused, since two readers
// could take it in two ways. Values are never made into strings, which can't be
// wiped; errors name none. What [Document.Destroy] removes is gone from the document
// that is written next; what the store keeps of older ones is for docs/secrets.md.
package secrets
