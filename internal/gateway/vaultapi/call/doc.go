// SPDX-License-Identifier: Apache-2.0

// Package call is what all mounts of the Vault-compatible API have in common: how a
// request comes in, how an answer and an error look.
//
//   - A mount lists [Route]s: an operation (read, list, write, …), a path, a handler
//     that gets a [Call] and gives a [Reply].
//   - [Call.Decode] reads a body, with [Bytes], [Int], [Bool] and [Seconds] for members
//     that clients of Vault write in several ways.
//   - [Bad], [Missing] and [Error] are failures in Vault's words; every other error is
//     worded by [Fail] from what gateway.FailureOf says of it.
//   - [Mount] turns routes into those of the gateway.
//
// It knows no operation by itself, and no credential: who calls is found by the
// Authenticate that Mount gets.
//
// Security: errors that aren't of this package are worded by a fixed table, so that
// no text of an inner error, which may quote what came, leaves the server.
package call
