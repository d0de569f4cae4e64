// SPDX-License-Identifier: Apache-2.0

// Package transport carries sealed messages between clients and key servers, by
// three ways that are equal in what they can do to a key: nothing.
//
//   - [Direct] speaks the native HTTP API to one server;
//   - [Relay] speaks to a relay, where servers that open no port are found
//     (docs/spec/relay.md);
//   - [Directory] leaves files where the other side finds them.
//
// [ParseAddress] tells which one an address means. All three have one shape, of
// which a consumer declares the part that it needs; [Direct.Way] gives it to a
// Direct:
//
//	Introductions(ctx) ([][]byte, error)                  // of one server, or of all that are there
//	Exchange(ctx, to Peer, sealed []byte) ([]byte, error)  // the sealed answer
//	Statements(ctx) ([][]byte, error)
//	Follow(ctx) iter.Seq2[[]byte, error]                  // statements as they are made
//
// A caller verifies an introduction, makes the [Peer] that its descriptor names
// and seals to that. A message is sealed to one server, so a caller decides
// itself whom to ask next. The same bytes may be sent again, by any way.
//
// A Direct has more: [Direct.Pin] fixes the TLS key that the verified descriptor
// names, before anything but an introduction is sent, and [Direct.Call] is for the
// JSON routes, whose answers nobody signs.
//
// The holder of a [Mailbox] uses [Relay.As] or [Directory.As]: it puts what others
// should find, [RelayOwner.Receive] yields what they sent, and
// [RelayOwner.Answer] answers it. Streams end with an error and don't start again
// by themselves; [Again] is the one place that knows how long to wait.
//
// What it deliberately does not do: believe anything. It follows no redirect and
// asks no proxy, reads no answer, frame or file beyond its limit, waits for
// nothing without end, and opens no link, pipe or device in a directory. Of TLS
// only a pinned key or the system's roots count, and no key depends on either. An
// [Error] is what somebody on the way said; it is unsigned, so it is trouble and
// never a fact about keys (docs/spec/release.md, section 4).
package transport
