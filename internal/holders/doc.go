// SPDX-License-Identifier: Apache-2.0

// Package holders remembers who may hold which leased key, and measures how long
// a revocation takes to reach them: its time to dark. It is pure: no network, no
// keys, no clock of its own.
//
// # What for
//
//   - [Table.Record] notes what a release gave out, once its audit leaves are
//     durable.
//   - [Table.Advance] tells the table how far the authority log has come, before
//     anything of the new epoch is recorded. Whatever is revoked there is tracked
//     from then on.
//   - [Table.Stated] and [Table.Answered] note that something else was signed which
//     keeps holders going.
//   - [Table.Acked] takes a holder's word that it has dropped what was revoked.
//   - [Table.Report] says who is dark, since when, and when the others go dark by
//     themselves.
//
// # What dark means
//
// A holder is dark for a revocation of epoch E when no lease that was released to
// it before E, under a revoked id, may be used any more: because it said so, or
// because an honest client's own rules have ended it. Those rules
// (docs/spec/release.md, section 6) end a lease at its end, and before that when
// the newest word from before E is older than the key's staleness bound: a word
// from E or later shows the revocation, or doesn't count. So without an
// acknowledgement the moment is
//
//	min(lease's end, newest word signed before E + staleness)
//
// and it is an upper bound: that word may never have reached the holder.
//
// # What it doesn't do
//
// It believes holders. Who lies keeps the key and looks dark; the table measures
// the honest ones, and against others only a new version and re-encryption help.
//
// # Bounds
//
// The table has a bound in bytes. When it is full, the lease that ends first is
// forgotten, and reports say "at least" until that lease would have ended. One
// client gets at most a quarter of the table, so that nobody pushes out the
// others with invented mailboxes.
package holders
