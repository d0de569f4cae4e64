// SPDX-License-Identifier: Apache-2.0

// Package tokenbook keeps what can't stand in a door's tokens (package bearer): which
// were revoked before their end, and which were renewed beyond it.
//
//   - [Book.Read] gives the [Page] of one endpoint; [Page.Revoked] and [Page.Renewed]
//     are what a door asks of it, for each request.
//   - [Book.Mark] writes one [Mark], durably, with a CAS: any server of the domain may.
//
// A page is one sealed slot. What has ended leaves it at the next writing, and there
// are at most [MaxMarks]: a full page refuses further marks.
//
// # Threats
//
// The seal keeps the store from making marks up or reading them, and binds a page to
// its endpoint. It doesn't keep the store from putting an older page back: a server
// that runs remembers what it saw (that is its door's part), one that starts anew
// would take revoked tokens again, until they end. Tokens are short-lived for that
// reason. What must not depend on the store is revoked in the authority log: the
// subject, or the endpoint.
package tokenbook
