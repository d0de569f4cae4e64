// SPDX-License-Identifier: Apache-2.0

// Package oidc verifies JSON Web Tokens (RFC 7519) that issuers outside sign: an
// identity provider, a cloud service, a Kubernetes API server.
//
// [New] makes a [Verifier] of the issuers that an endpoint's record names, and
// [Verifier.Verify] gives the [Proof] that one of them signed a token for us, for
// one of the endpoint's uses. [Proof.Claims] are what it says; [Proof.Caller] makes
// the Caller of the name that the door's protocol takes from them.
//
// # What holds
//
//   - RS256, PS256, ES256 and EdDSA with Ed25519, each with a key of its own kind:
//     what a token says of its algorithm never turns one kind of key into another,
//     and there is no "none" and no shared secret.
//   - The key is one of the issuer's set (RFC 7517), by its id. Keys, addresses and
//     certificates in a token's header are not looked at. An extension that has to
//     be understood ("crit") is not understood.
//   - Issuer and audience are as the endpoint's record says, letter by letter. A
//     token has an end; 60 seconds are allowed for clocks.
//   - Names of claims are those of the standard, letter by letter, and no member of a
//     JSON object is there twice, in any case.
//
// # Key sets
//
// They are fetched when a token asks for them and kept: for as long as the issuer's
// Cache-Control says, five minutes to a day. While the issuer can't be reached an
// old set goes on for a day ([MaxStale]); whoever can cut us off from an issuer can
// keep a withdrawn key alive that long. A token with a new key id has the set fetched
// again, at most every 30 seconds, so strangers' tokens are no way to have us ask.
// Sets come over https only, or http from this machine; redirects and proxies are not
// followed, sizes and times are bounded.
//
// # Errors
//
// Everything refused matches [authn.ErrRefused]. [authn.ErrAway] means that there is
// no key set to judge by. No error holds anything of a token.
//
// # What it is not for
//
// A token is shown to whoever takes it, and works for him elsewhere if the audience
// is wide: give each endpoint an audience of its own. Nothing is remembered of
// tokens; who holds one is its subject until it ends, or until the subject is
// revoked by name.
package oidc
