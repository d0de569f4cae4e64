// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	_ Clock = system{}
	_ Clock = process{}
	_ Clock = (*Manual)(nil)
)

func TestSystem(t *testing.T) {
	c := System()
	before, wall := c.Boot(), c.Now()
	if before <= 0 {
		t.Errorf("Boot() = %v, want more than zero", before)
	}
	for range 1000 {
		now := c.Boot()
		if now < before {
			t.Fatalf("Boot() went back from %v to %v", before, now)
		}
		before = now
	}
	if d := time.Since(wall); d < -time.Minute || d > time.Minute {
		t.Errorf("Now() is %v away from the wall clock", d)
	}
}

// A monotonic reading would make t.Sub(u) hide that somebody set the clock.
func TestNowHasNoMonotonicReading(t *testing.T) {
	withMonotonic := time.Now()
	if !strings.Contains(withMonotonic.String(), " m=") {
		t.Fatal("time.Now prints no monotonic reading: the check below proves nothing")
	}
	for name, c := range map[string]Clock{
		"system": System(), "process": Process(), "manual": NewManual(withMonotonic),
	} {
		if s := c.Now().String(); strings.Contains(s, " m=") {
			t.Errorf("%s: Now() = %s carries a monotonic reading", name, s)
		}
	}
	m := NewManual(time.Time{})
	m.SetWall(withMonotonic)
	if s := m.Now().String(); strings.Contains(s, " m=") {
		t.Errorf("manual after SetWall: Now() = %s carries a monotonic reading", s)
	}
}

func TestSystemFallsBack(t *testing.T) {
	s := system{fallback: process{start: time.Now().Add(-time.Hour)}}
	got := s.Boot()
	if _, ok := bootTime(); !ok && got < time.Hour {
		t.Errorf("Boot() = %v, want the process clock's", got)
	}
	if d, ok := bootTime(); ok && d-got > time.Minute {
		t.Errorf("Boot() = %v, want the boot clock's %v", got, d)
	}
}

func TestProcessFollowsBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Process()
		wall := c.Now()
		time.Sleep(36 * time.Hour)
		if got := c.Boot(); got != 36*time.Hour {
			t.Errorf("Boot() = %v after 36 h", got)
		}
		if got := c.Now().Sub(wall); got != 36*time.Hour {
			t.Errorf("Now() moved %v in 36 h", got)
		}
	})
}

func TestManual(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := NewManual(start)
	boot := m.Boot()
	if boot == 0 {
		t.Error("a new Manual shows boot time zero")
	}
	m.Advance(5 * time.Second)
	if got := m.Now().Sub(start); got != 5*time.Second {
		t.Errorf("wall moved %v, want 5s", got)
	}
	if got := m.Boot() - boot; got != 5*time.Second {
		t.Errorf("boot moved %v, want 5s", got)
	}
	m.SetWall(start.Add(-time.Hour))
	if got := m.Now(); !got.Equal(start.Add(-time.Hour)) {
		t.Errorf("wall = %v after SetWall", got)
	}
	if got := m.Boot() - boot; got != 5*time.Second {
		t.Errorf("SetWall moved the boot clock to %v", got)
	}
	m.Reboot()
	if got := m.Boot(); got != 0 {
		t.Errorf("boot = %v after Reboot", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("Advance(-1) didn't panic")
		}
	}()
	m.Advance(-1)
}
