// SPDX-License-Identifier: Apache-2.0

// Package authority keeps the authority log: the hash-chained list of signed
// bodies that is all the configuration of a trust domain. The store that holds
// it is not trusted. A server replays the log, verifies each signature and
// threshold, and only then has a [State].
//
// People make a body with [NewBody], sign it on their own machines, and bring it
// to a server, which calls [Log.Propose]: the body waits in a slot until enough
// have signed and is then appended. What a server may do alone goes straight to
// [Log.Append]. [Table] says who may sign what; it is data, tested over every
// kind and signer.
//
// The fold is deterministic: two servers with the same records have the same
// state. A record whose body doesn't hold (expired, replayed, superseded, too few
// signatures) is void: it stays in the log, changes nothing and is listed in
// [State.Voids].
//
// [Open] refuses a log that was changed, cut, reordered, put back or that belongs
// to another installation ([ErrLog]), by the chain, the seals and the head file
// that each server keeps outside the store. What one server alone can't see (its
// store and its head file both put back together) is said in
// docs/spec/authority-log.md.
package authority
