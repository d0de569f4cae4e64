// SPDX-License-Identifier: Apache-2.0

// Package transit is Vault's transit engine on keys of the domain: encrypt, decrypt,
// rewrap, data keys, sign, verify, HMAC, random bytes, hashes, and the keys
// themselves.
//
//   - [New] makes the mount of an endpoint's options; [Mount.Routes] are its routes.
//   - [Mount.Capabilities] says what a caller may do with a path.
//
// # How names and texts map
//
// The key NAME of the mount is the domain's key PREFIX+NAME. A ciphertext is
// "vault:vN:" and the Base64 of the raw form salt ‖ nonce ‖ ciphertext ‖ tag
// (docs/spec/hierarchy.md, section 2.4), N being the key's version. Its additional
// data is [binding]: a label of its own and the caller's associated_data, so that
// what another door sealed doesn't open here. The context of a derived key is the
// partition: keys of two contexts have nothing in common.
//
// # What it deliberately does not do
//
// It takes no nonce from a caller, knows no convergent encryption and gives no key
// away (export, backup, import are off): docs/endpoints/vault.md lists all
// differences. It keeps no state: what Vault keeps beside a key (derived, minimum
// versions, deletion_allowed) is either said by the endpoint's options and the
// states of versions, which people sign, or refused.
//
// # Threats
//
// Whoever may rewrap could decrypt, whoever gets a data key could encrypt: policy is
// asked for exactly that. That a key isn't there is told to who might use one of
// its name, to nobody else (T-38). A batch is bounded in items before it is decoded.
package transit
