// SPDX-License-Identifier: Apache-2.0

// Package localrpc serves and calls unary gRPC methods over a Unix socket, for the
// programs of a machine that ask a neighbour for keys and know no other protocol:
// the Kubernetes API server, sops.
//
// It is the part of gRPC that those need, on net/http's HTTP/2: one message in, one
// message out, a status. There is no compression, no reflection, no streaming and no
// TLS: a socket's mode is its lock.
//
//   - [Listen] opens the socket, and clears away one that a killed process left.
//   - [Server] answers methods; [Call] asks one, as such a program does.
//   - [Decode] and [AppendBytes] read and write the protobuf messages.
//   - [Error] is a refusal with a gRPC code; any other error is told to nobody but the
//     log.
//
// # Threats
//
// Who may open the socket may use the keys behind it. A path is as safe as its mode
// and its directory's. A socket of the abstract kind has no mode: there the peer's
// user id is asked of the kernel, and only root and the server's own user are let in.
// Messages, headers, connections, calls at a time and their time are bounded before a
// message is read. Messages are wiped after use; what HTTP/2 buffered of them is not.
package localrpc
