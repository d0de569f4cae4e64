// SPDX-License-Identifier: Apache-2.0

package trust

import (
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

// estimate is serverTime, or the wall clock as long as nothing better is known:
// good enough to address a request, never to believe an answer.
func (v *View) estimate(id wire.ServerID) int64 {
	if t, ok := v.serverTime(id); ok {
		return t
	}
	return v.clock.Now().UnixMilli()
}

// Now is the best guess of the domain's time, for what only costs a request if
// it is wrong.
func (v *View) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.UnixMilli(v.estimate(wire.ServerID{}))
}

// Age is how long ago, at most, the newest believed word on the domain's state
// was signed. ok is false if there is none.
func (v *View) Age() (age time.Duration, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.heard {
		return 0, false
	}
	return v.fresh + v.since(v.freshAt), true
}

// freshen notes that a word was age old at the moment at, unless a newer one is
// known.
func (v *View) freshen(at moment, age time.Duration) {
	if v.heard && v.fresh+v.since(v.freshAt) <= age+v.since(at) {
		return
	}
	v.fresh, v.freshAt, v.heard = age, at, true
}
