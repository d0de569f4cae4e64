// SPDX-License-Identifier: Apache-2.0

// Package holding ties the table of who holds which lease (package holders) to a
// server's two logs: the authority log says what is revoked, the audit log what
// an earlier run of the server gave out.
//
//   - [Open] when a server is unsealed.
//   - [Holding.Hear] before anything of a later epoch is decided or signed: facts,
//     statements and certificates ask for it themselves.
//   - [Holding.Gave] when a release's leaves are durable.
//   - [Holding.Ack] takes a holder's word that it has dropped what was revoked.
//   - [Holding.Watch] answers how far a revocation has come.
//
// What an earlier run gave out is read from the audit log, which names the client
// and not the mailbox or the staleness bound: those holders can't acknowledge, and
// count until their leases end. What can't be read is said to be unknown.
package holding
