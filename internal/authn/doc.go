// SPDX-License-Identifier: Apache-2.0

// Package authn turns a credential into a Caller: who is asking, as far as it is
// proved. What a caller may do is package policy's question.
//
// Which function for which credential:
//
//   - [Trust.FromTLS]: the client certificate of a TLS 1.3 connection.
//   - [Trust.VerifyRequest]: a key request, opened from its seal, signed with the
//     key of the stapled certificate. [Trust.VerifyRenew] likewise for renewals.
//   - [Trust.VerifyEnroll]: a first certificate, asked for under an invite. It
//     yields no Caller: who enrols has no name yet.
//   - [AdminVerifier.Verify]: an HTTP request signed by an authority key, by a key
//     of the recovery quorum, or by a read-only session key that one of those
//     allowed for some hours. A recovery key makes a Caller of the kind [Recovery],
//     never an Admin. [AdminSigner] is the other side of it, [NewSession] makes
//     session keys.
//   - [LocalCaller]: the server's own process, for its own housekeeping.
//   - [SubjectCaller]: whom the credential of an endpoint names. Doors don't call
//     it; the packages below this one do, each for one kind of credential.
//
// [Trust] is a snapshot: which domain, which chains count, who is revoked, who
// is an admin. It is made anew from every state of the authority log; nothing
// here is remembered from one state to the next but the nonces of admins'
// requests.
//
// # What holds
//
//   - A name comes from a verified certificate only. The name that a request
//     claims must be the same, and the key that signed the request must be that
//     certificate's: another certificate of the same CA, or a newer one stapled
//     by somebody else, doesn't do (a stolen request stays its owner's).
//   - Revocation is asked by name, after everything else is proved, whoever
//     issued the certificate.
//   - A Caller made anywhere else is not [Caller.Proved].
//   - An admin's request works on one server, once, within a minute, for one
//     method, target and body.
//
// # Errors
//
// Everything refused matches [ErrRefused]; a proved but revoked caller also
// matches [ErrRevoked], a signer that asks too often [ErrBusy]. The text is for
// the operator. Doors give one answer to all of it, and requests that fail here
// are counted, not logged: the log must not grow at the will of strangers.
//
// It does not cache: a connection's Caller may be kept by its connection until
// [Caller.NotAfter] as long as the authority log stands still.
package authn
