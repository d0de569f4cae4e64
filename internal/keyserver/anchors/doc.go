// SPDX-License-Identifier: Apache-2.0

// Package anchors keeps the certificate verifier of the members of the moment:
// whose certificates name workloads, and which of them their issuers revoked.
//
// Which CAs count stands in the member chain, signed by people. What is read
// from disk here are their revocation lists, which operators replace: one that
// is missing, unreadable or older than the one in use is not taken, and concerns
// its own anchor only. An anchor that needs lists and has none refuses every
// certificate.
//
//   - [Anchors.Verifier]: before each use of a certificate. It costs a stat of
//     each list while nothing changes.
//   - [Anchors.Vet]: before a member change with other anchors is kept.
//
// # Not here
//
// The rules of chains and names (internal/pki), issuing (internal/pki/ca).
package anchors
