// SPDX-License-Identifier: Apache-2.0

// Package api is the native API of a key server over HTTP: the door that every
// server has, on three listeners.
//
//   - The API itself, TLS 1.3 (docs/api.md). The route table is the whole of it: method,
//     path, credential, largest body, deadline, handler. What stands in no row
//     can't be reached, and a handler sees a request only after body, seal and
//     credential were judged.
//   - Metrics and health, plain HTTP on loopback.
//   - The control socket in the data directory, where its owner seals and unseals.
//     The file's mode is the credential.
//
// [New] makes a sealed [Server] around a keyserver.Server; [Server.Unseal] or the
// control socket opens it; [Server.Serve] answers until its context ends, sealed
// or not, then seals.
//
// # What it does not do
//
// It decides nothing and holds no key: handlers turn a request into one
// keyserver.Op, call Do, and write the answer down. Errors are unsigned, say no
// path and no cause, and mean nothing to a client but trouble; a refusal that
// counts stands signed in a release.
//
// # Threats
//
// Connections, bodies and time are bounded before anything is believed
// (internal/keyserver/limits for the rest): a slow or endless request costs its
// sender more than the server. Metrics have no label that a caller chooses.
package api
