// SPDX-License-Identifier: Apache-2.0

// Package pace says when clients come, so that many who were started, cut off or
// told at one moment don't come back at one moment for ever after.
//
//   - [Renewal] is when a certificate is to be replaced, [Refresh] how old a lease
//     in use is to become, [Standing] how old a standing request: each from the
//     second half of its life or near it, drawn from what only this one
//     certificate, lease or request has;
//   - [News] is how long to wait before asking for what may have changed;
//   - [Pause] is how long to wait after a failure, [Busy] after a server said that
//     it has too much to do;
//   - [Rest] keeps who got no answer from asking again with each use.
//
// Everything here is arithmetic: a number in, a time out. Who calls it brings the
// clock and the random number. So test/waves runs ten million clients on the very
// same rules in seconds, and holds how high their waves go (docs/scaling.md).
//
// # Threats
//
// Nothing here guards a key. Moments of renewal and refresh can be computed by
// whoever sees the certificate or the grant; they move traffic, not trust. What
// must not be late, such as the end of a lease or a revocation, never passes here.
package pace
