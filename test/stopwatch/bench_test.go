// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"errors"
	"flag"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
)

// clients is how many a benchmark has, and cutOffs how many of them are cut off.
var (
	clients = flag.Int("clients", 1000, "clients of a benchmark")
	cutOffs = flag.Int("cut", 50, "of them, those that are cut off in BenchmarkCutOff")
	nice    = flag.Int("nice", 0, "priority of this process for the first 3 s of a revocation, as nice(1) has it: below 0, which takes root, it is measured as if other programs were not there")
)

// prefer gives every thread of this process a priority.
func prefer(b *testing.B, priority int) {
	b.Helper()
	if *nice == 0 {
		return
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err == nil {
			err = syscall.Setpriority(syscall.PRIO_PROCESS, id, priority)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) { // it has ended
			b.Fatal(err)
		}
	}
}

// BenchmarkHonest: the time to dark behind an honest relay.
func BenchmarkHonest(b *testing.B) {
	run(b, func(*rig) (temper, int) { return honest, 0 })
}

// BenchmarkSwallows: the same behind a relay that passes on no news. It takes as
// long as the staleness bound, a minute.
func BenchmarkSwallows(b *testing.B) {
	run(b, func(*rig) (temper, int) { return swallows, *clients })
}

// BenchmarkCutOff: the same where some clients can't be reached at all.
func BenchmarkCutOff(b *testing.B) {
	run(b, func(*rig) (temper, int) { return cut, *cutOffs })
}

// run measures one revocation for each iteration, each in a domain of its own, and
// reports the last one's figures: what the server says, and what the probers saw.
// The truth lies between -least, the last try that succeeded, and -most, the first
// that failed.
func run(b *testing.B, against func(*rig) (temper, int)) {
	for range b.N {
		r := newRig(b, keyserver.DefaultStatementEvery)
		near, evil := newHop(b, r.front), newHop(b, r.front)
		how, victims := against(r)
		real := clock.System()
		began := real.Boot()
		g := r.gather(*clients, 100*time.Millisecond, func(i int) *hop {
			if i < victims {
				return evil
			}
			return near
		})
		b.Logf("%d clients have enrolled and follow after %v", *clients, real.Boot()-began)
		g.probe()
		g.tried()
		evil.turn(how)
		prefer(b, *nice)
		over := time.AfterFunc(3*time.Second, func() { prefer(b, 0) })
		r.revoke()
		report := r.report(true)
		over.Stop()
		prefer(b, 0)
		g.tried()
		g.stop()
		least, most := g.never(report)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(report.Acknowledged), "acks")
		b.ReportMetric(report.Told.Sub(report.At).Seconds(), "told-s")
		b.ReportMetric(report.P50, "p50-s")
		b.ReportMetric(report.P99, "p99-s")
		b.ReportMetric(report.Last, "last-s")
		b.ReportMetric(rank(least, 50).Seconds(), "p50-least-s")
		b.ReportMetric(rank(most, 50).Seconds(), "p50-most-s")
		b.ReportMetric(rank(least, 99).Seconds(), "p99-least-s")
		b.ReportMetric(rank(most, 99).Seconds(), "p99-most-s")
		b.ReportMetric(rank(least, 100).Seconds(), "last-least-s")
		b.ReportMetric(rank(most, 100).Seconds(), "last-most-s")
	}
}
