// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"claviger/internal/clock"
)

const (
	enrollPerSec = 20  // enrolments of one address a second, …
	enrollBurst  = 100 // … after a burst of this many
	maxSources   = 1 << 16
)

// Sources gives every client address a rate. It is for what anyone may send
// unauthenticated, so its memory is bounded and its clock is the boot clock.
type Sources struct {
	clock clock.Clock
	mu    sync.Mutex
	known map[netip.Prefix]*tokens
	swept time.Duration
}

type tokens struct {
	left float64
	at   time.Duration
}

// NewSources returns a memory of addresses, empty.
func NewSources(c clock.Clock) *Sources {
	return &Sources{clock: c, known: map[netip.Prefix]*tokens{}}
}

// Take uses one token of the address, or fails with ErrBusy.
func (s *Sources) Take(remote string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Boot()
	from := sourceOf(remote)
	t := s.known[from]
	if t == nil {
		if len(s.known) >= maxSources && !s.makeRoom(now) {
			return fmt.Errorf("%w: enrolments from too many addresses", ErrBusy)
		}
		t = &tokens{enrollBurst, now}
		s.known[from] = t
	}
	t.left = min(enrollBurst, t.left+(now-t.at).Seconds()*enrollPerSec)
	t.at = now
	if t.left < 1 {
		return fmt.Errorf("%w: more than %d enrolments a second from one address", ErrBusy, enrollPerSec)
	}
	t.left--
	return nil
}

// makeRoom forgets addresses whose burst is full again, at most once a second.
func (s *Sources) makeRoom(now time.Duration) bool {
	if now < s.swept+time.Second && s.swept > 0 {
		return false
	}
	s.swept = now
	for from, t := range s.known {
		if (now-t.at).Seconds()*enrollPerSec >= enrollBurst-t.left {
			delete(s.known, from)
		}
	}
	return len(s.known) < maxSources
}

// sourceOf is the address, or the /64 that one IPv6 host has to itself.
func sourceOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // not a network address: all such share one rate
	}
	addr, bits := at.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}
