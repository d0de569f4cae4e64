// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"math"
	"testing"
	"time"
)

// TestBounds: each moment lies where its comment says, at both ends and between.
func TestBounds(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		of         func(Draw) time.Duration
		from, upTo time.Duration // upTo is reached within a second
	}{
		"renewal":      {func(r Draw) time.Duration { return Renewal(day, r) }, 12 * time.Hour, 20 * time.Hour},
		"refresh":      {func(r Draw) time.Duration { return Refresh(time.Hour, r) }, 30 * time.Minute, time.Hour},
		"standing":     {func(r Draw) time.Duration { return Standing(day, r) }, 9 * time.Hour, 15 * time.Hour},
		"news":         {func(r Draw) time.Duration { return News(0, r) }, 0, NewsSpread},
		"news, again":  {func(r Draw) time.Duration { return News(1, r) }, 0, 2 * NewsSpread},
		"old news":     {func(r Draw) time.Duration { return News(math.MaxInt, r) }, 0, MostSpread},
		"pause":        {func(r Draw) time.Duration { return Pause(30*time.Second, r) }, 15 * time.Second, 30 * time.Second},
		"busy":         {func(r Draw) time.Duration { return Busy(time.Second, r) }, time.Second, 2 * time.Second},
		"busy, longer": {func(r Draw) time.Duration { return Busy(time.Minute, r) }, time.Minute, time.Minute + mostBusy},
		"no life":      {func(r Draw) time.Duration { return Renewal(0, r) }, 0, 0},
		"negative":     {func(r Draw) time.Duration { return Draw.upTo(r, -time.Second) }, 0, 0},
	} {
		if got := c.of(0); got != c.from {
			t.Errorf("%s begins at %v, want %v", name, got, c.from)
		}
		if got := c.of(math.MaxUint64); got > c.upTo || got < c.upTo-time.Second {
			t.Errorf("%s ends at %v, want %v", name, got, c.upTo)
		}
		if got, middle := c.of(1<<63), (c.from+c.upTo)/2; got < middle-time.Second || got > middle+time.Second {
			t.Errorf("%s has %v in the middle, want %v", name, got, middle)
		}
	}
}

// TestDraws: what is unique has one draw and always the same, and draws fill the
// range evenly.
func TestDraws(t *testing.T) {
	a, again, b := Of([]byte("a")), Of([]byte("a")), Of([]byte("b"))
	if a != again || a == b {
		t.Error("the draw of something is not its own")
	}
	for name, draw := range map[string]func(i int) Draw{
		"of":     func(i int) Draw { return Of([]byte{byte(i), byte(i >> 8)}) },
		"random": func(int) Draw { return Random() },
	} {
		const all, parts = 16_000, 16
		var in [parts]int
		for i := range all {
			in[draw(i).upTo(parts)]++
		}
		for part, n := range in {
			if n < all/parts*3/4 || n > all/parts*5/4 {
				t.Errorf("%s: %d of %d in part %d", name, n, all, part)
			}
		}
	}
}

// TestRest: rests grow to a bound, and an answer ends them.
func TestRest(t *testing.T) {
	var r Rest
	if !r.Over(0) {
		t.Error("rests before anything failed")
	}
	now, last := time.Hour, time.Duration(0)
	for want := FirstRest; ; want = Next(want, MostRest) {
		r.Failed(now, math.MaxUint64)
		if r.Over(now+want-1) || !r.Over(now+want) {
			t.Fatalf("no rest of %v", want)
		}
		if want == last {
			break
		}
		now, last = now+want, want
	}
	if last != MostRest {
		t.Errorf("rests grow to %v", last)
	}
	if r.Worked(); !r.Over(now) {
		t.Error("rests after an answer")
	}
	if r.Failed(now, 0); !r.Over(now+FirstRest) || r.Over(now+FirstRest/2-1) {
		t.Error("the first rest after an answer is not the shortest")
	}
}

// TestTurn: one at a time, and nobody before it is time again.
func TestTurn(t *testing.T) {
	var turn Turn
	if !turn.Take(time.Second) || turn.Take(time.Hour) {
		t.Error("not one at a time")
	}
	turn.Done(2 * time.Hour)
	if turn.Take(2*time.Hour-1) || !turn.Take(2*time.Hour) {
		t.Error("not from the time that was said")
	}
}
