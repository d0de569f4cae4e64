// SPDX-License-Identifier: Apache-2.0

package members

import (
	"time"

	"claviger/internal/wire"
)

// Announced is when each recovery that waits was announced (KindRecoverBegin),
// in the log's own time, Unix milliseconds. Whoever folds the log keeps it, and
// clears it when the people change: it was announced to other people.
type Announced map[wire.Hash]int64

// Note takes in an announcement of these keys (a payload of KindRecover). One
// that was made before begins anew.
func (a Announced) Note(payload []byte, now int64) { a[wire.Sum("recover", payload)] = now }

// Due is from when on these keys can be put in force. False: they were not
// announced.
func (a Announced) Due(payload []byte, r Recovery) (time.Time, bool) {
	begun, ok := a[wire.Sum("recover", payload)]
	return due(begun, r), ok
}

// First is when the first of all that were announced can be put in force: what
// people have to be warned of. False: nothing was announced.
func (a Announced) First(r Recovery) (first time.Time, ok bool) {
	for _, begun := range a {
		if at := due(begun, r); !ok || at.Before(first) {
			first, ok = at, true
		}
	}
	return first, ok
}

func due(begun int64, r Recovery) time.Time {
	return time.UnixMilli(begun + int64(r.Wait)*1000).UTC()
}
