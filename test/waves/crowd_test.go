// SPDX-License-Identifier: Apache-2.0

// Package waves lets up to ten million clients come to servers in simulated time, by
// the rules that the SDK follows (claviger/internal/pace), and holds how high their
// waves go: after a mass start, a push to everybody, a change that all hear of, the
// restart of a relay. No client, server or network runs; only times are drawn.
//
//	go test ./test/waves -v                                # a million clients
//	go test ./test/waves -v -args -clients 10000000 -seed 7
//
// There are two kinds of wave. Where servers keep up, each client comes again and
// again at times of its own ([lives]), and what counts is the busiest second against
// the mean. Where more come at once than a server takes, it refuses the others and
// they come back ([crowd]): what counts is how long that lasts against the least it
// could, and how often each has to ask.
//
// The same waves by rules without a drawn moment, as simple clients have them, run
// beside, so that each bound is seen to fail there.
package waves

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"claviger/internal/pace"
)

var (
	clients = flag.Int("clients", 1_000_000, "how many clients")
	seed    = flag.Uint64("seed", 1, "of what is drawn")
)

// dice is a generator that repeats itself.
func dice() *rand.Rand { return rand.New(rand.NewPCG(*seed, 1)) }

func draw(d *rand.Rand) pace.Draw { return pace.Draw(d.Uint64()) }

// within is a moment before a time.
func within(d *rand.Rand, t time.Duration) time.Duration { return time.Duration(d.Int64N(int64(t))) }

// wave counts what comes in each second.
type wave []int32

func (w wave) add(at time.Duration) { w[at/time.Second]++ }

func (w wave) peak() float64 { return float64(slices.Max(w)) }

func (w wave) mean() float64 {
	all := 0.0
	for _, n := range w {
		all += float64(n)
	}
	return all / float64(len(w))
}

// bound is the number that a second with so many on average doesn't exceed once in
// a year: chance alone makes some seconds busier.
func bound(mean float64) float64 { return mean + 7*math.Sqrt(mean) + 7 }

// lives is a crowd whose clients all began in one short time and come again after each
// life, the length of which is drawn. What they do to begin with is not counted.
type lives struct {
	start, end time.Duration
	next       func(pace.Draw) time.Duration
}

func (l lives) run() wave {
	d, w := dice(), make(wave, l.end/time.Second)
	for range *clients {
		at := within(d, l.start)
		for {
			if at += l.next(draw(d)); at >= l.end {
				break
			}
			w.add(at)
		}
	}
	return w
}

// tick is how exactly a crowd's times are kept.
const tick = 50 * time.Millisecond

// crowd is one in which each client wants one answer, and a server gives so many a
// second and refuses who else comes.
type crowd struct {
	size    int
	answers int                                          // a second
	first   func(d *rand.Rand, client int) time.Duration // when it comes
	// again is how long a client waits after it was refused at a moment, for the nth
	// time.
	again func(d *rand.Rand, client, n int, now time.Duration) time.Duration
}

// outcome of a crowd.
type outcome struct {
	offered wave
	asked   int           // in all
	most    int           // by one client
	end     time.Duration // when the last was answered
}

// perClient is how often one asked on average.
func (o outcome) perClient(size int) float64 { return float64(o.asked) / float64(size) }

func (c crowd) run() outcome {
	d := dice()
	due := [][]int32{}
	put := func(client int32, at time.Duration) {
		n := int(at / tick)
		for len(due) <= n {
			due = append(due, nil)
		}
		due[n] = append(due[n], client)
	}
	for client := range c.size {
		put(int32(client), c.first(d, client))
	}
	var o outcome
	tries, budget := make([]uint16, c.size), 0.0
	for n := 0; n < len(due); n++ {
		now := time.Duration(n) * tick
		if now/time.Second >= time.Duration(len(o.offered)) {
			o.offered = append(o.offered, 0)
		}
		o.offered[now/time.Second] += int32(len(due[n]))
		// What nobody came for is not kept for later, but for a part of an answer.
		budget = min(budget, 1) + float64(c.answers)*tick.Seconds()
		for _, client := range due[n] {
			o.asked++
			tries[client]++
			if budget >= 1 {
				budget--
				o.end = now
				continue
			}
			put(client, max(now+tick, now+c.again(d, int(client), int(tries[client]), now)))
		}
		due[n] = nil
	}
	o.most = int(slices.Max(tries))
	return o
}

// ideal is the time that nobody can beat.
func (c crowd) ideal() time.Duration {
	return time.Duration(float64(c.size) / float64(c.answers) * float64(time.Second))
}

func (c crowd) String() string {
	return fmt.Sprintf("%d clients, %d answers a second", c.size, c.answers)
}

// TestCrowd: the engine against crowds whose outcome is known.
func TestCrowd(t *testing.T) {
	at := func(d time.Duration) func(*rand.Rand, int) time.Duration {
		return func(*rand.Rand, int) time.Duration { return d }
	}
	wait := func(*rand.Rand, int, int, time.Duration) time.Duration { return time.Second }
	for name, c := range map[string]struct {
		crowd
		asked, most int
		end         time.Duration
	}{
		"all fit":          {crowd{10, 200, at(0), wait}, 10, 1, 0},
		"ten at each tick": {crowd{30, 200, at(0), wait}, 30 + 20 + 9, 3, 2 * time.Second}, // one is left over after a second
		"one in two ticks": {crowd{2, 10, at(0), wait}, 2 + 2 + 1, 3, 2 * time.Second},
	} {
		if o := c.run(); o.asked != c.asked || o.most != c.most || o.end != c.end {
			t.Errorf("%s: asked %d, most %d, end %v", name, o.asked, o.most, o.end)
		}
	}
	l := lives{time.Minute, time.Hour, func(r pace.Draw) time.Duration { return pace.Refresh(time.Hour, r) }}
	if !slices.Equal(l.run(), l.run()) {
		t.Error("the same seed has two outcomes")
	}
}
