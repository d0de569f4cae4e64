// SPDX-License-Identifier: Apache-2.0

// Package hostile is a relay that a test makes misbehave. Behind it stands the
// relay as it ships, with a bus and a disk of its own; in front of that, whoever
// owns the relay's machine.
//
//   - [New] starts an honest one for a domain; [Relay.Address] is what servers and
//     clients are given;
//   - [Relay.On] has a [Script] decide what becomes of the messages of one route,
//     [Relay.Frames] what becomes of the messages of one stream, and [Relay.Instead]
//     answers a route with anything at all, such as data without end;
//   - [Relay.Honest] ends all of that;
//   - [Relay.Seen] is what passed, which is everything a relay can know, and
//     [Relay.Dir] what it keeps on its disk.
//
// A script sees a message as it came and may change it, hold it, drop it, pass it
// on twice, and answer with something else: what another client asked, what was
// answered yesterday, what a friend of the relay has signed.
//
// The relay's own checks can't be switched off, but they stand behind the script:
// who wants to show a board that the relay would refuse answers for it. Nothing here
// has keys of the domain. Servers that lie are package testkit's moles.
package hostile
