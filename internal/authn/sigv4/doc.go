// SPDX-License-Identifier: Apache-2.0

// Package sigv4 verifies requests that were signed with AWS Signature Version 4
// (docs.aws.amazon.com, "Create a signed AWS API request"), and signs them.
//
//   - [Verifier.Verify] says which live credential signed a request, and that
//     nobody sent the same signature before.
//   - [Caller] makes the subject for whom KMS asks, once it has proved itself.
//   - [Sign] is for probes and tests.
//
// Whatever the request lists as signed is verified; host and x-amz-date have to be
// among it, and the body counts whether or not its hash was sent along.
//
// # Threats
//
// A signature holds for five minutes around its date. Inside them the verifier
// remembers what it has seen and refuses it (T-67); a process that starts anew
// remembers nothing. The secret of a credential is compared with nothing: both
// sides derive, and the MACs are compared in constant time.
package sigv4
