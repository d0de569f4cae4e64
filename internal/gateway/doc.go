// SPDX-License-Identifier: Apache-2.0

// Package gateway is the port of the doors: it lets services that know nothing of
// Claviger use its keys in their own protocols.
//
// Each protocol is a [Kind] in a package of its own below this one. It makes a
// [Door] for each endpoint that the authority log names: a list of [Route]s and a
// way to fail. A door is a thin translation: credential to authn.Caller, request to
// keyserver.Op, Site.Do, Answer to [Response]. It never sees a key server's core, and
// reaches a key in no other way than Do.
//
// [Server] is everything that doors have in common: TLS and whose certificate it
// shows, whom it asks for one, which endpoint a request is for, how large and how
// slow it may be, how many may come, what is logged and counted. A handler sees a
// request only when its body is there.
//
//   - Writing a door: the types of this file's neighbours, [DecodeJSON] for bodies,
//     [FailureOf] for errors, and gatewaytest, which tries on every route what must
//     not work.
//   - Running doors: [New] and [Server.Serve].
//
// # Which endpoint
//
// A Host that belongs to an endpoint reaches that endpoint alone, at the root. Any
// other Host reaches the endpoint whose name is the path's first part. What is left
// goes to the kinds that have a Root. The record is looked up for each request: an
// endpoint that was removed answers nothing from the next request on, one that was
// disabled nothing but that. An unknown one is 404, whatever else exists.
//
// # Threats
//
// Whoever reaches the port is a stranger: connections, headers, bodies, their
// memory and their time are bounded before a credential is looked at, and requests
// of each endpoint besides (T-90). Client certificates are demanded in the
// handshake under the Host of an endpoint that wants them, and asked about again
// per request, so that no other Host or path leads around them (T-89). Errors say what
// the caller did wrong and nothing else; logs have no body, and no header but the
// length. While the server is sealed, doors that were open say so and nothing more.
package gateway
