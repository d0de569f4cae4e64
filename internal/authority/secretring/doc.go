// SPDX-License-Identifier: Apache-2.0

// Package secretring holds what the authority log says of versioned secrets: which
// there are, and for each the hash of the one sealed document that is it now. It is
// the part of package authority that decodes, bounds and folds secret.written.
//
//   - [Ring.Get] finds a secret by name; [Ring.List] shows one folder, and
//     [Ring.Below] everything under it, in order.
//   - A server that changed a secret writes a [Written]: [Ring.Next] says which
//     revision it has to name.
//   - [Ring.Rows] and [Ring.Add] carry rows through a snapshot.
//
// A secret's name is that of a key, a slash, and a path: the key backs it. The name
// of the key alone is the folder itself, whose document holds its settings.
//
// # What it deliberately does not do
//
// It sees no secret, no document and no slot; package secretwork of the key server
// does. It decides nothing about callers.
//
// # Threats
//
// The store keeps documents in slots, and may put an older one back, swap two or
// lose one: the hash in the log shows each of these. A revision is never given out
// twice under one name, not even after the secret went and came again (see
// [Ring.Floor]), so that whatever a slow server prepared for an earlier life of the
// name is void, and what it left in the store can be told to be useless. A record
// holds only while its key is enabled and its version the active one, so that
// nothing is written past a disable or under a version that is about to go.
package secretring
