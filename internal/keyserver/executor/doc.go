// SPDX-License-Identifier: Apache-2.0

// Package executor carries out what the authority log orders of a key server:
// it makes the key versions that people ordered or that fall due, ends erasure
// epochs for the versions whose waiting time before destruction is over, writes
// the receipts of that, and streams backups.
//
// All of it is recorded in the log, and none of it goes beyond what a signed
// body permits. Whatever is left undone when a server dies is found due at the
// next [Executor.Execute], which runs at each start and every minute;
// [Executor.CarryOut] does at once what a body that was just applied asks for.
// Both may be called at any time and do nothing twice.
//
//   - [Ledger]: how a server appends to the log under its own signature.
//   - [LoggedSwitch]: the newest erasure switch of a log, judged against the
//     orders around it. It is read before the hierarchy is opened, too.
//
// # Threats
//
// An erasure destroys keys for good, so a switch in the log is believed only
// where it gives up what people ordered destroyed and nothing else ([ErrForged]).
// Deciding who may order is the log's business (internal/authority), keys and
// their erasure are the hierarchy's (internal/hierarchy).
package executor
