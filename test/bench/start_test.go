// SPDX-License-Identifier: Apache-2.0

// Package bench measures the product as a whole, where a package's own
// benchmarks can't: how long a server takes to start on a log of many keys, and
// how much memory it holds then.
//
// The keys are made by as many signed changes first. For 100,000 of them that
// takes minutes: `make bench-big` runs those, `make bench` the others.
package bench

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/testkit"
)

// BenchmarkStart is a start from the files of a data directory until the server
// answers: open the root under a key file, replay and verify the log, open the
// audit log, listen.
func BenchmarkStart(b *testing.B) {
	for _, keys := range []int{1, 1_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { start(b, keys) })
	}
}

// BenchmarkLargeStart is the same with 100,000 keys.
func BenchmarkLargeStart(b *testing.B) { start(b, 100_000) }

func start(b *testing.B, keys int) {
	d := testkit.New(b, testkit.Options{})
	begin := d.Clock().Boot()
	createKeys(b, d, keys)
	rate := float64(keys) / (d.Clock().Boot() - begin).Seconds()
	for b.Loop() {
		b.StopTimer()
		d.Stop()
		b.StartTimer()
		d.Start()
		ready(b, d)
	}
	b.ReportMetric(rate, "creates/s")
	b.ReportMetric(residentMiB(b), "MiB-RSS")
}

// createKeys makes keys, each by a change that an admin signed.
func createKeys(b *testing.B, d *testkit.Domain, n int) {
	state := d.State()
	next := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range next {
				p := authority.KeyCreate{
					Name: fmt.Sprintf("bench/%d", i), Algorithm: authority.AES256,
					Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
				}
				rand.Read(p.ID[:])
				rand.Read(p.Revocation[:])
				entry, err := state.Entry(authority.KindKeyCreate, p, d.Clock().Now().Add(time.Hour), d.Admins[0])
				if err != nil {
					b.Error(err)
					continue
				}
				if out := d.Post(entry, d.Admins[0]); !out.Applied {
					b.Errorf("key %d: %d %s", i, out.Status, out.Body)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// ready asks the server as a load balancer would.
func ready(b *testing.B, d *testkit.Domain) {
	if answer := d.Send(nil, testkit.Message{Method: "GET", Path: "/v1/ready"}); answer.Status != 200 {
		b.Fatalf("not ready: %d %s", answer.Status, answer.Body)
	}
}

// residentMiB is this process's resident memory, the benchmark's own included.
func residentMiB(b *testing.B) float64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(n) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
