// SPDX-License-Identifier: Apache-2.0

// Package policyset keeps the policy in force for the choke point: parsed once,
// and kept in the audit log so that leaves may name it.
//
//   - [InForce.Get] gives the set that the state names. One caller parses a new
//     one, the others wait for it; the cache's key is the set's hash, so nothing
//     has to be told that it changed.
//   - [Set] names itself and the schema for leaves.
//   - [Set.Ask] decides (package policy), and remembers what it decided for one
//     epoch of the log where that depends on nothing but who asks for what.
//
// Security: a set that doesn't parse, or that the audit log can't keep, is an
// error, and nothing is decided: there is no older set to fall back to.
//
// It doesn't judge what people propose; the choke point does that before a set
// comes into force.
package policyset
