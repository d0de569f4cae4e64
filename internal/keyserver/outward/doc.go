// SPDX-License-Identifier: Apache-2.0

// Package outward is the side of a key server that calls out: it stands at relays
// and directories, so that clients reach a server that opens no port.
//
// [Run] does all of it for one unsealed server and any number of carriers, until
// its context ends. At each carrier it
//
//   - names the send tokens and puts the introduction, and a new one when the
//     descriptor or the member chain changes;
//   - puts a new statement at every interval, and at once when the log moves: that
//     is what recalls keys within about a second;
//   - takes the statements that it shows, of this server too: a store that went back
//     can't answer for them;
//   - receives sealed messages and sends back what the server answers.
//
// The messages go where those of the native API go, so this adds no way to a key:
// what it can't open, isn't signed or isn't fresh is refused there. A refusal goes
// back as [wire.Trouble], unsigned.
//
// Carriers are trusted with nothing and apart from each other: one that is away,
// slow or hostile keeps its own workers busy, and no others. One that fails is
// tried again for ever, with growing pauses.
//
// What it deliberately does not do: listen, decide, hold keys other than the
// mailbox's, or say anything that the server would not say to anyone.
package outward
