// SPDX-License-Identifier: Apache-2.0

// Package salesforce is the door for Salesforce Shield's cache-only keys: Salesforce
// fetches the key that it encrypts with each time its cache has lost it, and keeps it
// nowhere else (help.salesforce.com, "Cache-Only Key Service").
//
// [Kind] is all that the gateway needs. One route answers with a JWE (RFC 7516,
// RSA-OAEP and A256GCM in compact form) to the certificate that the endpoint's record
// pins, bound to the id of the request. Who asks is Salesforce, by a token that it
// signs or a client certificate.
//
//   - Which key: NAME-vN is version N of the key NAME behind the endpoint's folder.
//     A key id means one version for ever: Salesforce has data under it.
//   - What it is: the 32 bytes of the version's leaf for purpose wrap. Policy is
//     asked for release and unwrap, as for every key that leaves.
//
// # Threats
//
// This door hands keys over: while Salesforce has one in its cache, it works there
// without us. What travels is sealed to the pinned certificate, so that TLS ended by
// somebody else shows nothing. A request id is answered once; the id stands in the
// protected header, so that an old answer is no answer to a new request.
package salesforce
