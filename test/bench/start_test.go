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

// createKeys makes keys, each by a change that an admin signed. A server takes
// so many requests of one admin in two minutes, in memory that a new one begins.
func createKeys(b *testing.B, d *testkit.Domain, n int) {
	const batch = 8_000
	state := d.State()
	for from := 0; from < n; from += batch {
		if from > 0 {
			d.Restart()
		}
		createBatch(b, d, state, from, min(from+batch, n))
		if b.Failed() {
			b.FailNow()
		}
	}
}

func createBatch(b *testing.B, d *testkit.Domain, state *authority.State, from, to int) {
	next := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range next {
				if b.Failed() {
					continue
				}
				if err := createKey(d, state, fmt.Sprintf("bench/%d", i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range to - from {
		next <- from + i
	}
	close(next)
	group.Wait()
}

func createKey(d *testkit.Domain, state *authority.State, name string) error {
	p := authority.KeyCreate{
		Name: name, Algorithm: authority.AES256,
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	entry, err := state.Entry(authority.KindKeyCreate, p, d.Clock().Now().Add(time.Hour), d.Admins[0])
	if err != nil {
		return err
	}
	if out := d.Post(entry, d.Admins[0]); !out.Applied {
		return fmt.Errorf("%s: %d %s", name, out.Status, out.Body)
	}
	return nil
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
