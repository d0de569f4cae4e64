// SPDX-License-Identifier: Apache-2.0

// Package revoked keeps the list of what holders must stop using: revocation ids
// and how long each has to be told. Statements carry what [List.IDs] gives.
//
// An entry is taken back by what it revokes ("key:…", "client:…"), never by its
// id. An id is chosen by who makes a key, and may be another's: by id, an admin
// could switch a key of their own on and so free a client that a quorum revoked.
package revoked

import (
	"slices"
	"time"

	"claviger/internal/wire"
)

// slack keeps an entry a little longer in the list than it is told, for a reader
// whose clock is behind the log.
const slack = time.Minute

// List of revocations, in the order in which they were made. It is never
// changed: With and Without return another.
type List []entry

type entry struct {
	of    string // what it revokes
	id    wire.RevocationID
	since int64  // Unix milliseconds
	lease uint64 // seconds: the longest lease that may be out
}

// With adds the revocation of a thing from now on (Unix milliseconds), to be told
// until a lease of the given seconds has ended. An earlier one of the same thing
// is replaced; those that are over are dropped.
func (l List) With(of string, id wire.RevocationID, now int64, lease uint64) List {
	return append(l.Without(of, now), entry{of, id, now, lease})
}

// Without takes back the revocation of a thing, and drops those that are over.
func (l List) Without(of string, now int64) List {
	var rest List
	for _, e := range l {
		if e.of != of && e.runs(now-slack.Milliseconds()) {
			rest = append(rest, e)
		}
	}
	return rest
}

// IDs lists what is to be told at a time (Unix milliseconds), each id once.
func (l List) IDs(now int64) []wire.RevocationID {
	var out []wire.RevocationID
	for _, e := range l {
		if e.runs(now) && !slices.Contains(out, e.id) {
			out = append(out, e.id)
		}
	}
	return out
}

func (e entry) runs(now int64) bool { return now-e.since <= int64(e.lease)*1000 }
