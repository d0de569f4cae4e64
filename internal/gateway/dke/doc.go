// SPDX-License-Identifier: Apache-2.0

// Package dke is the door for Microsoft's Double Key Encryption: the service that
// holds the second of the two keys which a document needs
// (github.com/Azure-Samples/DoubleKeyEncryptionService).
//
// [Kind] is all that the gateway needs. Office asks for a key's public half, without
// saying who it is, and encrypts by itself; to open a document it sends the
// encrypted content key and a token of the user's. So the door has two routes: the
// public key, for the subject [authn.Anyone], and decryption, for whom the token
// names.
//
// A key is an RSA key of the domain, behind the endpoint's folder. Its versions are
// DKE's key ids: the newest is given out, all that live decrypt.
//
// # What it does not do
//
// Active Directory isn't asked for groups; a token's groups claim goes to policy
// (groups of a Subject). Office caches public keys only as long as the answer says.
//
// # Threats
//
// Whoever has a user's token decrypts as that user until it ends: the audience is
// this endpoint's own. Ciphertexts that don't open are one error with whatever else
// is malformed, so that RSA's padding tells nothing.
package dke
