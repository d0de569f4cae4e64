// SPDX-License-Identifier: Apache-2.0

// Package xks is the door for AWS KMS external key stores: a proxy that speaks the
// XKS proxy API, version 1 (github.com/aws/aws-kms-xksproxy-api-spec, 1.0.3).
//
// [Kind] is all that the gateway needs. One endpoint is one logical key store: its
// own path or host, its own credentials, keys and rate.
//
//   - Who asks: KMS, by SigV4 with one of the endpoint's credentials. Whom KMS acts
//     for, awsPrincipalArn, is then the subject that policy sees; operation, key
//     ARN, AWS service and VPC stand in the context.
//   - Which key: an external key id is the key's name, behind the endpoint's folder.
//   - What KMS keeps: a ciphertext as long as its plaintext, an initialization
//     vector, a tag, and 20 bytes of metadata, in which the key's version and a
//     salt lie (format.go).
//   - How long it takes: a request that isn't answered within [Budget] fails as
//     KMS wants it to, before KMS gives up by itself.
//
// # What it does not do
//
// AWS holds the data keys that these calls wrap, in memory, while they are in
// use. The door can't see what a data key encrypts.
//
// # Threats
//
// Whoever has a credential is KMS to this door, and may name any principal.
// A signature that somebody kept works no second time here (package sigv4); TLS, and
// a client certificate where one is demanded, stand against who sees it. Ciphertexts that were changed in any byte, metadata included, and other
// additional data, are one error.
package xks
