// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"fmt"
	"os"
	"sync"
	"time"

	"claviger/internal/clock"
)

// fast is the clock of a whole domain: it runs at a rate of the machine's boot
// clock, so that a minute's bound takes seconds.
type fast struct {
	mu   sync.Mutex
	rate int64
	real time.Duration // boot time of the machine when the rate changed last
	wall time.Time     // what this clock showed then
	boot time.Duration
}

func newFast() *fast {
	now := clock.System()
	return &fast{rate: 1, real: now.Boot(), wall: now.Now(), boot: now.Boot()}
}

// speed changes the rate; what the clock shows doesn't jump.
func (f *fast) speed(rate int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := clock.System().Boot()
	passed := time.Duration(f.rate) * (now - f.real)
	f.rate, f.real, f.wall, f.boot = rate, now, f.wall.Add(passed), f.boot+passed
}

func (f *fast) passed() time.Duration {
	return time.Duration(f.rate) * (clock.System().Boot() - f.real)
}

func (f *fast) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wall.Add(f.passed())
}

func (f *fast) Boot() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.boot + f.passed()
}

// write puts the clock into a file, for another process of this machine.
func (f *fast) write(file string) error {
	f.mu.Lock()
	text := fmt.Sprint(f.rate, f.real.Nanoseconds(), f.wall.UnixNano(), f.boot.Nanoseconds())
	f.mu.Unlock()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// written is the clock in a file, whatever it says at that moment.
type written string

func (w written) read() *fast {
	text, err := os.ReadFile(string(w))
	f, wall := &fast{}, int64(0)
	if err == nil {
		_, err = fmt.Sscan(string(text), &f.rate, (*int64)(&f.real), &wall, (*int64)(&f.boot))
	}
	if err != nil {
		panic(err) // the process ends, and its test with it
	}
	f.wall = time.Unix(0, wall)
	return f
}

func (w written) Now() time.Time      { return w.read().Now() }
func (w written) Boot() time.Duration { return w.read().Boot() }

// bent is the clock of a client whose machine somebody tampers with.
type bent struct {
	of   clock.Clock
	mu   sync.Mutex
	back time.Duration // that the wall clock was set back by
	boot time.Duration // at which the boot clock stands still; 0: it runs
}

func (b *bent) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of.Now().Add(-b.back)
}

func (b *bent) Boot() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.boot != 0 {
		return b.boot
	}
	return b.of.Boot()
}

func (b *bent) setBack(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.back = d
}

func (b *bent) halt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot = b.of.Boot()
}
