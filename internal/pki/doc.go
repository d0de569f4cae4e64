// SPDX-License-Identifier: Apache-2.0

// Package pki decides whether a certificate chain proves a workload's name.
//
// A workload's name is one SPIFFE id, carried as the only URI in the subject
// alternative name of its certificate. Nothing else in a certificate names
// anybody: subject, DNS names and addresses are not looked at.
//
// Which function for which need:
//
//   - [NewVerifier] takes the trust anchors of the domain; [Verifier.Verify]
//     turns a chain as it came off the wire into an [Identity].
//   - [Verifier.WithCRLs] gives a verifier with newer revocation lists.
//   - [ParseID], [WorkloadID] and [EmbeddedPrefix] read and make names.
//   - [ParseBundle] and [ParseCRL] read what an operator's CA wrote to files.
//
// Package ca issues certificates for the embedded CA, package tlscert makes and
// pins the key of the server's own TLS port. Servers are never named here: a
// key server is known by its join entry in the authority log, and no
// certificate, whoever issued it, makes its holder a server or an admin.
//
// # How a chain is judged
//
// The leaf's name picks the anchor, and only that anchor's roots count: a
// perfect chain to another anchor's root is refused, so an outside CA can speak
// for its own prefix and for nothing else. Prefixes of two anchors never
// overlap. On top of what crypto/x509 checks (signatures, dates, path lengths,
// name constraints, extended key usage along the chain) a leaf must not be a
// CA, must say digitalSignature and clientAuth itself, and must hold an Ed25519
// or ECDSA P-256 key.
//
// Revocation fails closed. Certificates of an outside CA need a fresh CRL from
// each issuer in the chain, unless the anchor limits their lifetime to
// [ShortLived] or less. Certificates of the embedded CA need none: the authority
// log revokes names, whoever issued the certificate, and callers ask it after
// Verify (package authn does).
//
// # What an attacker can make it do
//
// The chain comes from somebody unknown. Count and size are checked before
// anything is parsed, key sizes before any signature, and crypto/x509 stops
// after a hundred signature checks, so loops of cross-signed CAs end. Reasons in
// [UntrustedError] are for operators' logs; a door answers strangers with one
// class of error for all of them.
//
// It does not fetch anything: no OCSP, no CRL distribution points, no AIA. Who
// holds the current lists hands them in.
package pki
