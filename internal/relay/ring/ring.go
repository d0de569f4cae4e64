// SPDX-License-Identifier: Apache-2.0

// Package ring remembers, in memory and for a while, what passed a relay: what its
// operator can show a user of what it saw. Nothing of it is written anywhere, and
// no byte of a message is in it.
package ring

import (
	"sync"
	"time"
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

// Ring keeps the newest of what passed; it is safe for concurrent use. It is as much as an operator of a relay
// can tell of its users, so nothing else remembers any of it.
type Ring struct {
	mu   sync.Mutex
	list []Passed
	next int
}

// New makes a ring of n places.
func New(n int) *Ring { return &Ring{list: make([]Passed, 0, n)} }

// Add puts one in the place of the oldest.
func (r *Ring) Add(p Passed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < cap(r.list) {
		r.list = append(r.list, p)
		return
	}
	r.list[r.next] = p
	r.next = (r.next + 1) % len(r.list)
}

// All returns them, the oldest first.
func (r *Ring) All() []Passed {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Passed, 0, len(r.list))
	out = append(out, r.list[r.next:]...)
	return append(out, r.list[:r.next]...)
}
