// SPDX-License-Identifier: Apache-2.0

// Package clock is where the product reads the time. Nothing else calls
// time.Now, so that every rule about time can be tested with a clock that the
// test moves.
//
// Which clock for which need:
//
//   - System, in programs: the machine's wall clock and its boot clock.
//   - Process, where a machine has no boot clock worth trusting and in tests
//     that run in a testing/synctest bubble: the boot clock counts from the
//     call and moves with the bubble. It stands still while the machine
//     sleeps, so a lease measured with it alone may outlive a suspend.
//   - Manual, in tests of rules: the test moves wall and boot time, also apart.
//
// Two clocks, because neither is to be trusted alone. The wall clock can be
// set by whoever runs the machine, and network time can be forged. The boot
// clock can't be set and counts suspended time, but says nothing about dates
// and starts again at boot; a virtual machine put back from a snapshot carries
// an old one. Callers that bound a lease take the larger of the two elapsed
// times.
//
// The package deliberately has no timers and no Sleep: waiting code uses
// package time and is tested under testing/synctest.
package clock

import (
	"sync"
	"time"
)

// A Clock tells wall time and boot time. Implementations are safe for
// concurrent use.
type Clock interface {
	// Now returns the wall time without a monotonic reading, so that the
	// difference of two results is the difference the wall clock shows,
	// corrections and forgeries included.
	Now() time.Time
	// Boot returns the time since the machine started, suspended time
	// included. It never goes back within one boot.
	Boot() time.Duration
}

// System returns the machine's clocks. Boot is CLOCK_BOOTTIME on Linux,
// CLOCK_MONOTONIC_RAW on macOS and GetTickCount64 on Windows, all of which go
// on while the machine sleeps; elsewhere it counts from this call as Process
// does.
func System() Clock { return system{fallback: process{start: time.Now()}} }

type system struct{ fallback process }

func (system) Now() time.Time { return time.Now().Round(0) }

func (s system) Boot() time.Duration {
	d, ok := bootTime()
	if !ok {
		return s.fallback.Boot()
	}
	return d
}

// Process returns a clock whose boot time counts from this call by the
// runtime's monotonic clock. Inside a testing/synctest bubble both readings
// are the bubble's.
func Process() Clock { return process{start: time.Now()} }

type process struct{ start time.Time }

func (process) Now() time.Time        { return time.Now().Round(0) }
func (p process) Boot() time.Duration { return time.Since(p.start) }

// Manual is a clock that stands still until it is told to move. The zero value
// isn't useful; call NewManual.
type Manual struct {
	mu   sync.Mutex
	wall time.Time
	boot time.Duration
}

// NewManual returns a clock that shows wall time t and a boot time of one
// hour: not zero, so that code which takes zero for "unknown" is noticed.
func NewManual(t time.Time) *Manual {
	return &Manual{wall: t.Round(0), boot: time.Hour}
}

// Now returns the wall time last set or advanced to.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

// Boot returns the boot time.
func (m *Manual) Boot() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

// Advance moves both clocks by d. A negative d is a programmer error and
// panics, since a boot clock never goes back; use SetWall to turn the wall
// clock back.
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("clock: Advance by a negative duration")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = m.wall.Add(d)
	m.boot += d
}

// SetWall sets the wall clock alone, forwards or back, as an administrator or
// a forged time server could.
func (m *Manual) SetWall(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = t.Round(0)
}

// Reboot starts the boot clock again at zero and leaves the wall clock, as a
// restart of the machine does.
func (m *Manual) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = 0
}
