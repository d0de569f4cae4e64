// SPDX-License-Identifier: Apache-2.0

// Package revoked keeps the list of what holders must stop using: revocation ids
// and how long each has to be told. Statements carry what [List.Told] gives.
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
	_     struct{} `cbor:",toarray"`
	Of    string   // what it revokes
	ID    wire.RevocationID
	Epoch wire.Epoch // of its record
	Since int64      // time of its record, Unix milliseconds
	Lease uint64     // seconds: the longest lease that may have been out then
}

// By is the revocation of a thing by a record.
func By(record wire.Link, of string, id wire.RevocationID, lease uint64) Entry {
	return Entry{Of: of, ID: id, Epoch: record.Epoch, Since: record.Time, Lease: lease}
}

// Set adds a revocation, or takes back that of the same thing.
func (l List) Set(revoked bool, e Entry) List {
	if revoked {
		return l.With(e)
	}
	return l.Without(e.Of, e.Since)
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

// Told is what a statement says at a time (Unix milliseconds): the ids, and that
// of everything for as long as that is revoked. If there are more than it holds
// (wire.MaxRevocations) it says everything.
func (l List) Told(everything bool, now int64) []wire.RevocationID {
	out := l.IDs(now)
	if everything && !slices.Contains(out, wire.RevokeEverything) {
		out = append(out, wire.RevokeEverything)
	}
	if len(out) > wire.MaxRevocations {
		return []wire.RevocationID{wire.RevokeEverything}
	}
	return out
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
