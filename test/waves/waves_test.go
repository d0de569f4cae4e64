// SPDX-License-Identifier: Apache-2.0

package waves

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/pace"
	"claviger/internal/pki/ca"
)

const (
	lease = authority.DefaultLease * time.Second
	day   = 24 * time.Hour
	// use is how often a busy client uses its key, and push how long news take to
	// reach all.
	use, push = time.Second, time.Second
)

// answered is what the servers of a crowd are taken to do in a second: a hundredth of
// the crowd, so that at best it takes 100 s. Sizes and times then scale together.
func answered() int { return max(*clients/100, 1) }

// TestMassStart: all clients begin within a minute, as after a power cut, and go on
// for days. The second in which most come is less than twice as busy as the mean.
func TestMassStart(t *testing.T) {
	for _, c := range []struct {
		name        string
		end         time.Duration
		drawn, same func(pace.Draw) time.Duration
		most        float64 // the busiest second against the mean, chance apart
	}{
		{
			"certificates", 6 * day,
			func(r pace.Draw) time.Duration { return pace.Renewal(ca.DefaultTTL, r) },
			func(pace.Draw) time.Duration { return ca.DefaultTTL * 2 / 3 }, 2.1,
		},
		{
			"leases in use", 10 * lease,
			func(r pace.Draw) time.Duration { return pace.Refresh(lease, r) },
			func(pace.Draw) time.Duration { return lease }, 1.8,
		},
		{
			"standing requests", 5 * day,
			func(r pace.Draw) time.Duration { return pace.Standing(day, r) },
			func(pace.Draw) time.Duration { return day / 2 }, 2.2,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			drawn, same := lives{time.Minute, c.end, c.drawn}.run(), lives{time.Minute, c.end, c.same}.run()
			t.Logf("%s of %d clients: %.1f/s on average, busiest second %.0f = %.1f times that; without a drawn moment %.0f = %.0f times",
				c.name, *clients, drawn.mean(), drawn.peak(), drawn.peak()/drawn.mean(), same.peak(), same.peak()/same.mean())
			onPage(t, fmt.Sprintf("| %s | %s | %s (%.1f times) | %s (%.0f times) |", c.name, count(drawn.mean()), count(drawn.peak()), drawn.peak()/drawn.mean(), count(same.peak()), same.peak()/same.mean()))
			if limit := bound(c.most * drawn.mean()); drawn.peak() > limit {
				t.Errorf("the busiest second has %.0f, more than %.0f", drawn.peak(), limit)
			}
			if same.peak() <= bound(c.most*same.mean()) {
				t.Error("the bound holds without a drawn moment too: it shows nothing")
			}
		})
	}
}

// onPage holds the plan to the figures of a million clients and the first seed.
func onPage(t *testing.T, text string) {
	t.Helper()
	if *clients != 1_000_000 || *seed != 1 {
		return
	}
	all, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(all)), " "), text) {
		t.Errorf("%s doesn't say: %s", page, text)
	}
}

// hold runs a crowd and holds it to how long it takes, against the least there could
// be and a rest, and how often a client asks on average.
func hold(t *testing.T, name string, c crowd, slack time.Duration, asks float64) outcome {
	t.Helper()
	o := c.run()
	tail := 0.0
	if at := int(c.ideal().Seconds()); at < len(o.offered) {
		tail = o.offered[at:].peak()
	}
	t.Logf("%s: %v: over after %v (at best %v); asked %.1f times each, %d at most; busiest second %.0f, later than the best %.0f",
		name, c, o.end.Round(time.Second), c.ideal().Round(time.Second), o.perClient(c.size), o.most, o.offered.peak(), tail)
	onPage(t, fmt.Sprintf("| %s | %.0f s | %.0f s | %.1f | %d | %s |", name, c.ideal().Seconds(), o.end.Seconds(), o.perClient(c.size), o.most, count(o.offered.peak())))
	if o.end > c.ideal()+slack {
		t.Errorf("%s: over after %v, want %v", name, o.end, c.ideal()+slack)
	}
	if o.perClient(c.size) > asks {
		t.Errorf("%s: %.1f asks for one answer, want at most %.1f", name, o.perClient(c.size), asks)
	}
	return o
}

// TestChange: a record that everybody hears of, such as a rotation. Half of the
// clients use their key once a second and ask at the next use; the others ask in the
// background. Nobody stops meanwhile: leases at hand serve on.
func TestChange(t *testing.T) {
	first := func(d *rand.Rand, client int) time.Duration {
		if client%2 == 0 {
			return within(d, push) + within(d, use)
		}
		return within(d, push) + pace.News(0, draw(d))
	}
	rests := make([]pace.Rest, *clients)
	drawn := hold(t, "a change that all hear of", crowd{*clients, answered(), first, func(d *rand.Rand, client, n int, now time.Duration) time.Duration {
		if n%2 == 1 { // the same exchange tries once more
			return pace.Busy(time.Second, draw(d))
		}
		r := &rests[client]
		r.Failed(now, draw(d))
		wait := time.Duration(0)
		for !r.Over(now + wait) { // then the next use asks
			wait += use
		}
		return wait
	}}, 2*pace.MostRest, 16)
	rude := crowd{*clients, answered(), func(d *rand.Rand, _ int) time.Duration { return within(d, push) },
		func(_ *rand.Rand, _, n int, _ time.Duration) time.Duration {
			if n%2 == 1 {
				return time.Second
			}
			return tick // the next use
		}}.run()
	onPage(t, fmt.Sprintf("without rests and draws %.1f times, and %d times at most", rude.perClient(*clients), rude.most))
	t.Logf("without rests and drawn moments: asked %.1f times each, %d at most; busiest second %.0f", rude.perClient(*clients), rude.most, rude.offered.peak())
	if rude.perClient(*clients) < 4*drawn.perClient(*clients) {
		t.Error("rests save little: the bound shows nothing")
	}
}

// TestPush: everybody's lease is revoked, and everybody says so at once.
func TestPush(t *testing.T) {
	hold(t, "everything is revoked, all acknowledge", crowd{*clients, answered(), func(d *rand.Rand, _ int) time.Duration { return within(d, push) }, pauses},
		2*pace.MostPause, 14)
}

// pauses are those of transport.Again.
func pauses(d *rand.Rand, _, n int, _ time.Duration) time.Duration {
	pause := pace.FirstPause
	for range n - 1 {
		pause = pace.Next(pause, pace.MostPause)
	}
	return pace.Pause(pause, draw(d))
}

// TestEnable: what was revoked is permitted again. Nobody has a lease to go on with, so
// each asks at its next use, and again at the next if that fails; the uses of ten
// seconds apart are the application's.
func TestEnable(t *testing.T) {
	const every = 10 * time.Second
	hold(t, "it is enabled again, all have to ask", crowd{*clients, answered(), func(d *rand.Rand, _ int) time.Duration { return within(d, push) + within(d, every) },
		func(d *rand.Rand, _, n int, _ time.Duration) time.Duration {
			if n%2 == 1 {
				return pace.Busy(time.Second, draw(d))
			}
			return every/2 + within(d, every)
		}}, 2*every, 20)
}

// TestRelayRestart: all who were connected to one relay, 20,000 by its own limit, lose
// it and come back while it is away for five seconds and then makes 1,000 handshakes a
// second.
func TestRelayRestart(t *testing.T) {
	const size, away = 20_000, 5 * time.Second
	before := make([]int, size) // tries that met nobody and cost the relay nothing
	c := crowd{size: size, answers: 1000}
	c.first = func(d *rand.Rand, client int) time.Duration {
		at := time.Duration(0)
		for at < away {
			before[client]++
			at += pauses(d, client, before[client], at)
		}
		return at - away
	}
	c.again = func(d *rand.Rand, client, n int, now time.Duration) time.Duration {
		return pauses(d, client, before[client]+n, now)
	}
	o := hold(t, "20,000 clients lose their relay for 5 s", c, 2*pace.MostPause, 10)
	same := c
	same.first = func(*rand.Rand, int) time.Duration { return 0 }
	same.again = func(_ *rand.Rand, _, n int, _ time.Duration) time.Duration { return time.Second }
	rude := same.run()
	onPage(t, fmt.Sprintf("with pauses of a second it would be %.0f times", rude.perClient(size)))
	t.Logf("with pauses of a second: busiest second %.0f, asked %.1f times each", rude.offered.peak(), rude.perClient(size))
	if o.offered.peak() > size/2 || rude.offered.peak() < size {
		t.Errorf("%.0f come in one second", o.offered.peak())
	}
}
