// SPDX-License-Identifier: Apache-2.0

// Package keep is a client profile's directory as far as it changes while the
// client runs: the newest state believed, pinned key ids, receipts and proofs.
//
// A [Dir] is the memory of a trust.View and of the pins; [Receipts] are the signed
// grants; [WriteFile], [ReadFile], [SyncDir] and [Locked] are how files change as
// a whole, and by one process at a time.
//
// It verifies nothing: what it gives back may have been put back by whoever holds
// the disk. An older mark is then noticed only by what servers answer next.
package keep
