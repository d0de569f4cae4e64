// SPDX-License-Identifier: Apache-2.0

// Package relay is the relay's server side: an HTTPS front that carries sealed
// messages between workloads and key servers that open no inbound port, and keeps
// what helps first contact. docs/spec/relay.md says what it speaks.
//
//   - [New] makes a [Front] over the three small interfaces of ports.go; package
//     natsbus implements them on NATS, embedded or a cluster, and membus in memory.
//   - [Front.Serve] serves TLS with the bounds of [Limits]; [Front.Control] is the
//     handler of the control socket, where `claviger relay-dump` reads.
//   - Package relaycmd is the program around it.
//
// How it is built:
//
//   - routes.go is the table of routes. A route says who may use it and how large
//     a body it takes; nothing is reachable that stands not there.
//   - board.go keeps the boards in memory, as the table tells them to every
//     process, and judges what servers bring. follow.go streams them: a follower
//     has no queue, only the revisions that it has seen, so that a thousand of
//     them cost no more than their connections.
//   - exchange.go and receive.go carry requests and answers. A request is handed
//     over only once it was written to the receiver's stream: until then the
//     sender hears at once that nobody is there.
//   - limits.go says what one address, one mailbox and all together can take;
//     package bounds keeps count. Package ring is what the dump tells of the past.
//
// It deliberately holds no key, opens nothing, derives nothing, and links no
// package that could: an architecture test says so. Requests and answers pass
// through memory and are never written; parcels are.
//
// Threats: a relay is trusted with nothing; what it does at worst is to withhold
// (T-61, T-62), and it sees who talks to whom, when, and how much. What this code
// has to hold is that one of its users can't spoil it for others: boards take
// only what a member signed, mailboxes are read only with their key and filled
// only with a token, and every queue, body, connection and record has a bound
// (T-66).
package relay
