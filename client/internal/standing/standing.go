// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"slices"
	"sync"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/internal/pace"
	"claviger/internal/wire"
)

const (
	// Life is how long a request is to stand. It is renewed at about half of that, so a
	// process that ended is served for a day at most.
	Life = 24 * time.Hour
	// regroup is how soon a request is made for other keys than the last one's.
	regroup = 5 * time.Minute
	// maxRequests bounds those whose keys are at hand: the one that stands, and later
	// ones whose answers didn't come.
	maxRequests = 4
)

// Request is a standing request as it is made.
type Request struct {
	Asked *trust.Asked
	Asks  []leases.Ask // what it asks for, item by item
	Keys  *Keys
}

// Requests are the standing requests that servers may keep for one client run. It is
// safe for concurrent use.
type Requests struct {
	age func(*trust.Asked) time.Duration

	mu    sync.Mutex
	made  []Request // the oldest first
	stand bool      // the first of made was answered
}

// New returns Requests; age is how long ago, at most, one was made.
func New(age func(*trust.Asked) time.Duration) *Requests { return &Requests{age: age} }

// Made notes a request that is about to be sent. Its keys are r's from now on.
func (s *Requests) Made(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = append(s.made, r)
	if len(s.made) > maxRequests {
		at := 0
		if s.stand {
			at = 1
		}
		s.drop(at)
	}
}

// Stands notes that a request was answered: a server that keeps it has forgotten
// those before, so their keys are of no use.
func (s *Requests) Stands(asked *trust.Asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := len(s.made) - 1; at >= 0; at-- {
		if s.made[at].Asked != asked {
			s.drop(at)
		}
	}
	s.stand = len(s.made) > 0
}

func (s *Requests) drop(at int) {
	s.made[at].Keys.wipe()
	s.made = slices.Delete(s.made, at, at+1)
}

// Due reports whether a request is to be made for these asks: none stands, half of
// its keys or about half of its time are over, or it has stood for a while and asks
// for others.
func (s *Requests) Due(asks []leases.Ask) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(asks) == 0 {
		return false
	}
	if !s.stand {
		return true
	}
	r := s.made[0]
	age, hash := s.age(r.Asked), r.Asked.Hash()
	return age >= pace.Standing(Life, pace.Of(hash[:])) || r.Keys.left() <= wire.MaxStanding/2 || age >= regroup && !covers(r.Asks, asks)
}

func covers(have, want []leases.Ask) bool {
	return !slices.ContainsFunc(want, func(a leases.Ask) bool { return !slices.Contains(have, a) })
}

// Opened is a release that came ahead of need. Nothing in it is verified.
type Opened struct {
	Request
	Key   wire.Hash // HPKEHash of the one-time key that opened it
	Plain []byte    // the release; the caller wipes it
}

// Open opens a parcel, and erases the key that it was sealed to. ok is false if it
// is none of ours, was opened before, or comes too late.
func (s *Requests) Open(parcel []byte) (out Opened, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isRelease(parcel) {
		return out, false
	}
	for _, r := range slices.Backward(s.made) {
		if s.age(r.Asked) >= Life {
			continue
		}
		if plain, key, ok := r.Keys.open(wire.ReleaseInfo(r.Asked.Hash()), parcel); ok {
			return Opened{r, key, plain}, true
		}
	}
	return out, false
}

// isRelease spares what can't be one the trial of each key.
func isRelease(parcel []byte) bool {
	var outer wire.Sealed
	return wire.Unmarshal(parcel, &outer, wire.MaxParcel) == nil && outer.Type == wire.TypeRelease
}

// Forget erases all keys.
func (s *Requests) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.made {
		r.Keys.wipe()
	}
	s.made, s.stand = nil, false
}
