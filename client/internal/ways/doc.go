// SPDX-License-Identifier: Apache-2.0

// Package ways leads a client to the servers of its domain: over their own ports,
// relays and directories, whichever answers.
//
//   - [New] makes a [Network] of a profile's addresses, [Meet] one for who knows no
//     more of the domain than its id;
//   - [Network.Exchange] asks one server after the other until one gives an answer
//     that counts: what to ask and how to judge the answer is the caller's [Talk];
//   - [Network.News] gets statements now, [Network.Follow] as they are made;
//   - [Network.Receive] takes what servers leave in the mailbox of a client's run;
//   - [Network.Acknowledge] tells one server something, by any way;
//   - [Network.Call] is for JSON calls, which only direct ways carry.
//
// # Several ways, several servers
//
// A [Way] is one address; a relay or directory leads to every server that stands
// there. Each server is judged by itself: one that lies or is behind keeps nobody
// from another. The way and the server that answered last are asked first, so what
// a dead one costs is paid once. If nobody gives an answer that counts, the gravest
// failure is returned.
//
// Who doesn't tell the truth is logged, also if another way helped.
//
// What is believed is decided in package trust, for introductions and statements
// here, for answers by the Talk. What a carrier says unsigned is trouble
// ([ErrUnavailable]) and never a fact about keys.
//
// The package keeps no keys and knows nothing of leases. Nothing runs in the
// background: Follow and Receive return when their context ends.
package ways
