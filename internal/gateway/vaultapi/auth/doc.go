// SPDX-License-Identifier: Apache-2.0

// Package auth is who may call the Vault-compatible API: tokens, the logins that make
// them, and the token paths.
//
//   - [New] reads an endpoint's record: its credentials, issuers and roles.
//   - [Auth.Authenticate] finds the caller of a request by its token.
//   - [Auth.Routes] are auth/token/… and the logins: approle, jwt, kubernetes, cert.
//   - [Credential] makes what `endpoint add` gives a user: a token, a role's id and
//     secret, or the key under which tokens are made.
//
// # Tokens
//
// What a person was given ("cvs.…") holds until it is taken from the endpoint's
// record. What a login or a parent made ("cvt.…", package bearer) holds what it says
// of its subject, ends by itself, and can be renewed and revoked: that stands in the
// token book of the key server (package tokenbook), which is asked at most a second
// ago. A child is revoked with its parents, and no token outlives the credential it
// came by.
//
// A token names a subject, and policy decides what that may. The policies that Vault
// shows with a token are names of roles' settings here, and permit nothing.
//
// # Threats
//
// A login proves a name, never more: METHOD:NAME can't be another method's (T-11). A
// role is there for each login, so that no token of a broad issuer gets in unasked.
// One issuer for each use: two could mean different people by one subject. Wrong
// names and wrong secrets look alike.
package auth
