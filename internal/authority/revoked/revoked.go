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
type List []Entry

// Entry is one revocation.
type Entry struct {
	Of    string // what it revokes
	ID    wire.RevocationID
	Epoch wire.Epoch // of its record
	Since int64      // time of its record, Unix milliseconds
	Lease uint64     // seconds: the longest lease that may have been out then
}

// With adds a revocation, to be told until its longest lease has ended. An
// earlier one of the same thing is replaced; those that are over are dropped.
func (l List) With(e Entry) List { return append(l.Without(e.Of, e.Since), e) }

// Without takes back the revocation of a thing, and drops those that are over.
func (l List) Without(of string, now int64) List {
	var rest List
	for _, e := range l {
		if e.Of != of && e.runs(now-slack.Milliseconds()) {
			rest = append(rest, e)
		}
	}
	return rest
}

// Running lists the revocations whose longest lease has not ended at a time (Unix
// milliseconds).
func (l List) Running(now int64) []Entry {
	return slices.DeleteFunc(slices.Clone(l), func(e Entry) bool { return !e.runs(now) })
}

// IDs lists what is to be told at a time (Unix milliseconds), each id once.
func (l List) IDs(now int64) []wire.RevocationID {
	var out []wire.RevocationID
	for _, e := range l {
		if e.runs(now) && !slices.Contains(out, e.ID) {
			out = append(out, e.ID)
		}
	}
	return out
}

func (e Entry) runs(now int64) bool { return now-e.Since <= int64(e.Lease)*1000 }
