// SPDX-License-Identifier: Apache-2.0

// Package kacls is the door for Google Workspace's client-side encryption: the "key
// access control list service" that browsers ask to wrap and unwrap the keys of
// documents, calls and messages (developers.google.com/workspace/cse/reference).
//
// [Kind] is all that the gateway needs. Every request brings what Google says (the
// authorization token: which document, in what role) and what the customer's
// identity provider says (the authentication token: who it is). The subject of a
// request is the user's e-mail address in lower case.
//
//   - wrap, unwrap: the keys of documents, by the endpoint's wrapping key;
//   - privilegedwrap, privilegedunwrap: the same for admins whom the record names, for
//     imports and exports, without Google's word;
//   - digest, rewrap: moving from another service. Rewrap asks the old one, which the
//     record names, and proves itself by a token of the endpoint's signing key;
//   - delegate: a token for somebody who acts for the user;
//   - wrapprivatekey, privatekeysign, privatekeydecrypt and its privileged form: the
//     users' S/MIME keys;
//   - status, certs.
//
// # What is wrapped
//
// A wrapped key is a field (docs/spec/envelope.md) under the wrapping key: inside are
// the perimeter and the key, and the context binds what it is and whose: a document's
// key to its resource name, a private key to the hash of its public half. What
// doesn't fit opens nothing.
//
// # What it does not do
//
// It keeps nothing: no key, no token, no list of documents. It judges no membership of
// documents: Google does, and policy may say more.
//
// # Threats
//
// Who controls both Google's token and the identity provider reads what its users may
// read. The URL in Google's token has to be this endpoint's as its record says it,
// never as a request does: a server between the two could choose that. Only services
// that the record names are ever called.
package kacls
