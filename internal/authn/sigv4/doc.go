// SPDX-License-Identifier: Apache-2.0

// Package sigv4 verifies requests that were signed with AWS Signature Version 4
// (docs.aws.amazon.com, "Create a signed AWS API request"), and signs them.
//
//   - [Verifier.Verify] says which live credential signed a request.
//   - [Proof.Subject] makes the subject for whom the signer asks, once it has proved
//     itself.
//   - [Signer] is for probes and tests.
//
// Whatever the request lists as signed is verified; host and x-amz-date have to be
// among it, and the body counts whether or not its hash was sent along.
//
// # Threats
//
// A signature holds for five minutes around its date, and has no nonce. The same one
// is taken again for [Grace] only, so that a request which is sent twice in a moment
// of trouble works and one that somebody kept doesn't; a verifier knows what came to
// it alone, so other servers of the domain, and this one after a start or a change of
// the endpoint, take it once more. TLS keeps requests from being seen; a client
// certificate (ClientCAs of an endpoint) keeps others from sending them. The secret of a credential is compared with nothing:
// both sides derive, and the MACs are compared in constant time.
package sigv4
