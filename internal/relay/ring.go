// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"claviger/internal/wire"
)

// Passed is what the relay saw of one thing that passed.
type Passed struct {
	At      time.Time `json:"at"`
	Address string    `json:"address,omitempty"` // of who asked
	What    string    `json:"what"`              // the route's name, or "exchanged" for an answer that was handed on
	Mailbox string    `json:"mailbox,omitempty"`
	Type    string    `json:"type,omitempty"` // outer type of a message
	Size    int       `json:"size_bytes,omitempty"`
	Status  int       `json:"status"`
}

// ring keeps the newest of what passed. It is as much as an operator of a relay
// can tell of its users, so nothing else remembers any of it.
type ring struct {
	mu   sync.Mutex
	list []Passed
	next int
}

func newRing(n int) *ring { return &ring{list: make([]Passed, 0, n)} }

func (r *ring) add(p Passed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < cap(r.list) {
		r.list = append(r.list, p)
		return
	}
	r.list[r.next] = p
	r.next = (r.next + 1) % len(r.list)
}

// all returns them, the oldest first.
func (r *ring) all() []Passed {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Passed, 0, len(r.list))
	out = append(out, r.list[r.next:]...)
	return append(out, r.list[:r.next]...)
}

// maxType bounds the outer type that is shown.
const maxType = 64

// sealedType reads the outer type of a sealed message; false if it is none.
func sealedType(message []byte) (string, bool) {
	var outer wire.Sealed
	if wire.Unmarshal(message, &outer, wire.MaxSealedSize) != nil || !printable(outer.Type) {
		return "", false
	}
	return outer.Type, true
}

// outerType reads what an answer shows of itself: a text, or the first element of
// an array, which is all that the relay can know of it. "" if it shows nothing.
func outerType(message []byte) string {
	if len(message) > 0 && message[0]>>5 == 4 { // an array: its first element stands behind a head of 1 byte here
		message = message[1:]
	}
	var text string
	if len(message) == 0 || message[0]>>5 != 3 {
		return ""
	}
	if _, err := cbor.UnmarshalFirst(message, &text); err != nil || !printable(text) {
		return ""
	}
	return text
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxType
}
