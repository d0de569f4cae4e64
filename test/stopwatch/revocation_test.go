// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"testing"
	"time"

	"claviger/internal/admin"
)

const (
	many     = 50
	far      = 5  // of them, those that are cut off
	rate     = 12 // of the clock, where a bound is waited for
	probes   = 50 * time.Millisecond
	stating  = 500 * time.Millisecond
	rounding = time.Millisecond // reports are in whole ones
)

// never holds that nobody used the key after the time that was reported for it,
// and that everybody was seen to use it and to stop. It returns the truth.
func (g *gang) never(report *admin.Revocation) (least, most []time.Duration) {
	tb := g.rig.tb
	tb.Helper()
	if report.Holders != len(g.all) || report.Dark != report.Holders || !report.Done || len(report.Lit) != 0 {
		tb.Errorf("reported: %+v", report)
	}
	least, most = lit(g.all, report.At)
	for i, h := range g.all {
		if h.last.IsZero() || h.dark.IsZero() {
			tb.Errorf("%s: last used %v, first refused %v", name(i), h.last, h.dark)
		}
	}
	for _, c := range []struct {
		percent  int
		reported float64
	}{{50, report.P50}, {99, report.P99}, {100, report.Last}} {
		if truth := rank(least, c.percent); truth > seconds(c.reported)+rounding {
			tb.Errorf("%d in 100 were dark after %v, and used the key %v after", c.percent, seconds(c.reported), truth)
		}
	}
	return least, most
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// TestHonestRelay: everybody hears of it and says so, and nobody uses the key
// after the time that he named.
func TestHonestRelay(t *testing.T) {
	t.Parallel()
	r := newRig(t, stating)
	near := newHop(t, r.front)
	g := r.gather(many, probes, func(int) *hop { return near })
	g.probe()
	g.tried()
	r.revoke()
	report := r.report(true)
	g.tried()
	g.stop()
	g.never(report)
	if report.Acknowledged != many || report.Told.Before(report.At) {
		t.Errorf("%d of %d said so; told at %v, revoked at %v", report.Acknowledged, many, report.Told, report.At)
	}
}

// TestRelaySwallowsNews: a relay that shows an old statement again and again in
// place of each new one wins nobody any time after the bound.
func TestRelaySwallowsNews(t *testing.T) {
	t.Parallel()
	r := newRig(t, stating)
	evil := newHop(t, r.front)
	g := r.gather(many, probes, func(int) *hop { return evil })
	g.probe()
	g.tried()
	evil.turn(swallows)
	r.revoke()
	first := r.report(false)
	if first.Holders != many || first.Dark != 0 || first.Ends.After(first.At.Add(staleness)) {
		t.Errorf("at first: %d of %d are dark, the last after %v", first.Dark, first.Holders, first.Ends.Sub(first.At))
	}
	r.clock.speed(rate)
	report := r.report(true)
	g.tried()
	g.stop()
	g.never(report)
	if report.Acknowledged != 0 || evil.shown() < many {
		t.Errorf("%d have heard; %d old statements were shown", report.Acknowledged, evil.shown())
	}
	if report.Ends.After(first.Ends) {
		t.Errorf("first all were to be dark at %v, then at %v", first.Ends, report.Ends)
	}
	for i, h := range g.all {
		if !h.last.Before(first.Ends) {
			t.Errorf("%s used the key %v after its bound", name(i), h.last.Sub(first.Ends))
		}
	}
}

// TestSomeAreCutOff: a report tells those that heard from those that can't, and
// these end at their bound, whatever is done to their clocks, also in a process
// that was stopped meanwhile.
func TestSomeAreCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, stating)
	near, cutOff := newHop(t, r.front), newHop(t, r.front)
	g := r.gather(many, probes, func(i int) *hop {
		if i < far {
			return cutOff
		}
		return near
	})
	stopped := r.child(t, cutOff)
	g.probe()
	g.tried()
	cutOff.turn(cut)
	g.all[0].clock.setBack(24 * time.Hour)
	g.all[1].clock.halt()
	g.all[2].clock.setBack(-time.Second) // a clock that is set on a little
	r.revoke()
	r.until("those who can hear it say so", func() bool { return r.report(false).Acknowledged == many-far })
	first := r.report(false)
	if first.Holders != many+1 || first.Dark != many-far || len(first.Lit) != far+1 || first.Done {
		t.Errorf("at first: %+v", first)
	}
	stopped.stop(t)
	r.clock.speed(rate)
	report := r.report(true)
	last := stopped.goOn(t)
	g.tried()
	g.stop()
	if report.Holders != many+1 || report.Dark != many+1 || report.Acknowledged != many-far {
		t.Errorf("at last: %+v", report)
	}
	for i, h := range g.all[:far] {
		if !h.last.After(report.At) || !h.last.Before(first.Ends) {
			t.Errorf("%s: revoked at %v, last used at %v, its bound was %v", name(i), report.At, h.last, first.Ends)
		}
	}
	if !last.Before(first.Ends) {
		t.Errorf("the stopped process used the key %v after its bound", last.Sub(first.Ends))
	}
}
