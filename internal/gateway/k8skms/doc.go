// SPDX-License-Identifier: Apache-2.0

// Package k8skms is a KMS plugin of version 2 for the Kubernetes API server: it wraps
// the seeds from which an API server derives the keys of its objects, with a key that
// is leased to this process.
//
// [New] makes a [Plugin]; [Plugin.Methods] are what package localrpc serves;
// [Plugin.Keep] runs beside it.
//
// # The key's name
//
// What the protocol calls key_id is "claviger/" KEY-ID "/" VERSION: no secret, never
// used again, another one with each version, and the same in every replica, because
// both parts come from the key server's signed answer. Status and Encrypt take it from
// the same lease. Decrypt opens every version that the key server still releases.
//
// # Status
//
// Status seals and opens a test value, as Encrypt and Decrypt would at that moment: with
// the lease at hand that asks nobody. If it can't, it says why and names no key. An API
// server prolongs the use of a seed whenever it hears the key's name, also from a plugin
// that says that it isn't well: a name would let it write for ever.
//
// # Ciphertext
//
// A field of docs/spec/envelope.md, which names key id and version and is bound to both
// besides its context: this use and the annotations. So a wrapped seed opens nowhere
// else, and neither its key_id nor its annotations can be changed in etcd. The one
// annotation says which format that is.
//
// # Threats
//
// The API server holds its seeds and keys in memory: what it has unwrapped stays
// readable to it after a revocation, until it restarts. Whoever opens the socket may do
// what the API server may. Who can write etcd can put an older object in place of a
// newer one: the protocol binds no versions.
package k8skms
