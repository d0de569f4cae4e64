// SPDX-License-Identifier: Apache-2.0

// Package sopskms is a key service for sops: it wraps the data keys of files with keys
// that are leased to this process. sops asks it over a Unix socket and needs no
// credential of its own: who may open the socket may use the keys that the service's
// profile may use.
//
// [New] makes a [Service]; [Service.Methods] are what package localrpc serves.
//
// # Which key
//
// sops has no kind of key for Claviger. Its Vault kind is the one that it passes on
// without knowing the service behind it, so a key of ours stands in a file as a URI of
// that kind under a scheme of its own, [URI]:
//
//	claviger://local/v1/FOLDER/keys/NAME
//
// for the key FOLDER/NAME, with "." for a key in no folder. The host means nothing.
// Every other address, and every other kind, is refused by name: a real Vault's key
// must never be wrapped with one of ours that happens to be called the same.
//
// # Ciphertext
//
// "claviger:" and, in base64, a field of docs/spec/envelope.md, bound to this use. It
// names key id and version, so a file opens after rotations, and after its key's name
// was changed in the file it doesn't.
//
// # Threats
//
// Who writes a file chooses the key that wraps its data key, among those that the
// service may use: [Options.Only] bounds that. sops itself authenticates a file's
// values under the data key; that a file is the newest one, nobody does.
package sopskms
