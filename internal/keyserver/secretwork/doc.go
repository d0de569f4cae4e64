// SPDX-License-Identifier: Apache-2.0

// Package secretwork does what is asked of versioned secrets, for the choke point:
// it asks policy, leaves the leaf, opens, changes, seals and records.
//
//   - [Worker.Do] does one [Ask] and gives a [Result].
//   - [Denied], [Gone] and the errors of package secrets say what went wrong;
//     [ErrStore] is the store's or the log's trouble.
//
// # Where a secret lies
//
// A secret is one document (package secrets), sealed with the key that backs it, for
// its name and revision, in a slot that is named by the hash of the name, the
// revision and the hash of the sealed bytes. The authority log says which revision
// and which hash count (package secretring). A change writes the new slot first,
// then the record, then removes older slots: a crash in between loses nothing, and
// what it leaves behind is removed by the next change of that name, since its
// revision has been given out to another by then. Of two changes at once, on any
// number of servers, the log takes one; the other looks again, and again holds what
// it was asked against what is there now.
//
// # What it deliberately does not do
//
// It speaks no protocol and knows no mount: whose name is what is for the doors. It
// keeps no document in memory between two requests; settings of folders, which are
// no secret, it does.
//
// # Threats
//
// The store may put older slots back, swap or lose them: what doesn't have the hash
// that the log names is not opened, and an alarm says so (T-84). Policy is asked
// about the secret itself, and the key that backs it must be usable besides, so that
// disabling or destroying it darkens all that it backs. Whether there is a secret is
// told only to who may read or write it; a list has only names of such. Names come
// from strangers and stand in leaves: what an auditor's terminal could not show is
// refused before policy is asked.
package secretwork
