// SPDX-License-Identifier: Apache-2.0

// Package identity is what a key server says of itself: descriptors, to which
// requests are sealed, and signed epoch statements.
//
//   - [Identity.Introduction]: the descriptor of the moment with the member chain.
//   - [Identity.Open]: what was sealed to a present descriptor.
//   - [Identity.Statement]: the newest statement, a new one when the log moved.
//   - [Identity.Word]: what it says of an earlier record, for a proof.
//   - [Identity.Refresh]: renews and forgets by age; call it now and then, whether
//     anybody asks or not.
//
// A descriptor's private half lives in memory only, is new at each start and
// twice a day, and is wiped ([wire.Key.Wipe]) when the descriptor ends, when the
// clock is set back, and with [Identity.Wipe] at a seal: requests that somebody
// kept can't be opened later.
//
// # Not here
//
// What the messages look like (internal/wire), whether a server may vouch for
// its state (the choke point says so through Options.Usable), answering requests.
package identity
