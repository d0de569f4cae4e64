// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"time"

	"claviger/internal/wire"
)

// moment is one point in time on both clocks of this machine.
type moment struct {
	boot time.Duration
	wall time.Time
}

// anchor ties a server's clock to ours: it signed an answer at issued, after the
// question left at sent.
type anchor struct {
	issued int64 // Unix milliseconds by the server
	sent   moment
}

func (v *View) moment() moment { return moment{boot: v.clock.Boot(), wall: v.clock.Now()} }

// since is how long ago m was: the larger of what both clocks say, and never
// negative.
func (v *View) since(m moment) time.Duration {
	now := v.moment()
	return max(now.boot-m.boot, now.wall.Sub(m.wall), 0)
}

// serverTime is the latest that the server's clock can show now, in Unix
// milliseconds, if it shows what it showed when it last answered. A server that
// never answered is given the latest time of any that did.
func (v *View) serverTime(id wire.ServerID) (int64, bool) {
	if a, ok := v.anchors[id]; ok {
		return a.issued + v.since(a.sent).Milliseconds(), true
	}
	latest, known := int64(0), false
	for _, a := range v.anchors {
		latest, known = max(latest, a.issued+v.since(a.sent).Milliseconds()), true
	}
	return latest, known
}

// signedAgo is how long ago, at most, a server signed something, by what it says.
func (v *View) signedAgo(server wire.ServerID, issued int64) (time.Duration, error) {
	now, ok := v.serverTime(server)
	if !ok {
		return 0, fmt.Errorf("%w: nothing was asked yet that dates it", ErrStale)
	}
	if now-issued < -skew.Milliseconds() {
		return 0, integrity("signed in the future")
	}
	return time.Duration(max(now-issued, 0)) * time.Millisecond, nil
}

// estimate is serverTime, or the wall clock as long as nothing better is known:
// good enough to address a request, never to believe an answer.
func (v *View) estimate(id wire.ServerID) int64 {
	if t, ok := v.serverTime(id); ok {
		return t
	}
	return v.clock.Now().UnixMilli()
}

// ended reports whether a descriptor is over by every clock there is. Another one
// of the same server would do no better, so no clock that runs ahead, not even that
// of another server, may keep a client from asking.
func (v *View) ended(d *wire.Descriptor) bool {
	return d.NotAfter <= min(v.estimate(d.Server), v.clock.Now().UnixMilli())
}

// Now is the best guess of the domain's time, for what only costs a request if
// it is wrong.
func (v *View) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.UnixMilli(v.estimate(wire.ServerID{}))
}

// heard is when, at the latest, some server vouched for a state of the domain.
type heard struct {
	epoch wire.Epoch
	head  wire.Hash
	at    moment
	age   time.Duration // at that moment
}

// is reports whether h speaks of this very state; what was never heard doesn't.
func (h heard) is(epoch wire.Epoch, head wire.Hash) bool {
	return h.epoch == epoch && h.head == head && epoch.Position != 0
}

func (v *View) age(h heard) time.Duration { return h.age + v.since(h.at) }

// fresher returns what says more: of the later epoch, then the younger.
func (v *View) fresher(h, next heard) heard {
	switch c := next.epoch.Compare(h.epoch); {
	case c < 0, c == 0 && v.age(h) <= v.age(next):
		return h
	}
	return next
}

// Age is how long ago, at most, some server last vouched that what was released at
// the given epoch and head is not revoked, leaving aside the release itself. ok is
// false if none has.
//
// Security: an answer shows its epoch and not what was revoked on the way there.
// It counts for its own state, and for an earlier one if a statement of its state
// has shown that; else who keeps asking for other keys would never miss a statement
// that somebody holds back (T-16). Of one epoch, words on another head are of
// another history, and no word on this one.
func (v *View) Age(epoch wire.Epoch, head wire.Hash) (age time.Duration, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	told := v.told.epoch.Compare(epoch) > 0 || v.told.is(epoch, head)
	if told {
		age, ok = v.age(v.told), true
	}
	if v.answered.is(epoch, head) || told && v.answered.is(v.told.epoch, v.told.head) {
		if at := v.age(v.answered); !ok || at < age {
			return at, true
		}
	}
	return age, ok
}
