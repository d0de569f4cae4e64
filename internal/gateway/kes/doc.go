// SPDX-License-Identifier: Apache-2.0

// Package kes is the door that speaks the API of MinIO's KES, so that MinIO and
// other clients of KES use Claviger's keys: docs/endpoints/kes.md.
//
// [Kind] is all that it exports. A client is known by its certificate: the SHA-256
// of its public key, in hexadecimal, is its identity, as in KES, and
// Subject::"ENDPOINT:IDENTITY" in policies. Whoever signed the certificate doesn't
// matter unless the endpoint names roots.
//
// A key of KES is the Claviger key of the same name, below the endpoint's folder.
// Ciphertexts are Claviger fields: they name key and version, so that a rotation
// needs nothing from clients.
//
// # What it deliberately does not do
//
// Import: a Claviger key is derived under the customer's root and never comes from
// outside. Policies and identities: those of the authority log count. Deleting
// disables; destroying is for people. Logs: the audit log is the server's.
//
// # Threats
//
// The certificate is only as good as the handshake, which proves its key (T-11). A
// key that isn't there looks like one that policy keeps from the caller (T-66).
package kes
