// SPDX-License-Identifier: Apache-2.0

// Package authority keeps the authority log: the hash-chained list of signed
// bodies that is all the configuration of a trust domain. The store that holds
// it is not trusted. A server replays the log, verifies each signature and
// threshold, and only then has a [State].
//
// # Which function for which need
//
//   - A domain is founded: [Genesis], then [Create]. A server starts: [Open]. It
//     keeps up with [Log.Follow] or [Log.Refresh], reads with [Log.View] and is
//     told of changes by [Log.Changed].
//   - People change something: [State.NewBody] or [State.Entry] on their own
//     machines, then [Log.Propose] on a server: the body waits in a slot until
//     enough have signed ([Log.Pending]) and is then appended. [Log.Check] says
//     beforehand what stands against it.
//   - A server does what it may do alone: [State.Entry], [Log.Append].
//   - An admin's program replays what [Log.Records] gave it: [Found], [State.Fold].
//   - Who may sign what: [Table]. It is data, tested over every kind and signer.
//
// The fold is deterministic: two servers with the same records have the same
// state. A record whose body doesn't hold (expired, replayed, superseded, too few
// signatures) is void: it stays in the log, changes nothing and is listed in
// [State.Voids].
//
// # What it deliberately does not do
//
// It reads no policy, no certificate and no erasure switch: a key server looks
// into those before it proposes them. It decides nothing about requests.
//
// # Threats
//
// [Open] refuses a log that was changed, cut, reordered, put back or that belongs
// to another installation ([ErrLog]), by the chain, the seals and the head file
// that each server keeps outside the store; a running server finds the same out
// when it reads on, and stops. A server gone bad can append records, and date
// them within the time since the last one; what no signer table allows is void on
// every other server. What one server alone can't see (its store and its head
// file both put back together) is said in docs/spec/authority-log.md.
package authority
