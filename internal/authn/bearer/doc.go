// SPDX-License-Identifier: Apache-2.0

// Package bearer makes and verifies credentials of ours that a door's callers just
// show: tokens, and secrets that belong to a name.
//
//   - [Issuer.Make] makes a token after a login, and [Issuer.Verify] reads it.
//     Nothing is kept of it: the token holds what it says, under a MAC of a key that
//     is derived for one endpoint of one domain. [Proof.Caller] makes the Caller.
//   - [Check] verifies a secret that was given to somebody once, against the bytes
//     that the key server keeps: a token without an end, a role's secret id.
//     [Text] and [Parse] are how such a secret with its name is written as one word.
//
// # Tokens
//
// A token is "cvt." and the base 64 (URL alphabet, without padding) of deterministic
// CBOR and 32 bytes of HMAC-SHA512 over it. The CBOR is read only after the MAC
// held. Who holds a token can read what it says of him; it is no secret from him.
//
// # Threats
//
// Whoever has a token or secret is its subject, until it ends or is revoked. A token
// can't be changed, ended early or taken to another endpoint or domain, and there is
// no algorithm in it to choose. Revocation is asked by [Proof.Token]'s ID and by the
// IDs of those it was made with, which is the door's to do: this package keeps no
// state. Comparisons take constant time; a name that isn't there costs the same as a
// wrong secret.
//
// Everything refused matches [authn.ErrRefused]. An error that doesn't comes from
// where a secret is kept.
package bearer
