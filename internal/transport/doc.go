// SPDX-License-Identifier: Apache-2.0

// Package transport carries sealed messages between a client and a key server.
//
// [Direct] speaks the native HTTP API to one address:
//
//   - [Direct.Introduction] fetches, from whoever answers, what the caller then
//     verifies: a descriptor and the member chain;
//   - [Direct.Pin] takes the TLS key that the verified descriptor names. From
//     then on no other key is spoken to;
//   - [Direct.Exchange] sends a sealed message and returns the sealed answer;
//   - [Direct.Statement] fetches the newest signed statement;
//   - [Direct.Call] is for the JSON routes, whose answers nobody signs: the
//     pinned TLS connection is all that authenticates them.
//
// A caller with several servers has one Direct for each and decides itself whom
// to ask next, because a request is sealed to one server.
//
// What it deliberately does not do: believe anything. It follows no redirect,
// asks no proxy, trusts no CA and no DNS name, and reads no answer beyond its
// limit. A refusal of a server is an [Error]; it is unsigned, so it is trouble on
// the way and never a fact about keys (docs/spec/release.md, section 6).
package transport
