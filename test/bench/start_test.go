// SPDX-License-Identifier: Apache-2.0

// Package bench measures the product as a whole, where a package's own
// benchmarks can't: how long a server takes to start on a log of many keys, what
// a request costs it, and how much memory it holds. The server is a process of
// its own.
package bench

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/testkit"
)

// BenchmarkStart is a start from the files of a data directory until the server
// answers: begin a process, open the root under a key file, take the state from the
// snapshot, hold the store against it, open the audit log, listen. The first start
// has no snapshot and replays and verifies the whole log: replay-ns.
func BenchmarkStart(b *testing.B) {
	for _, keys := range append([]int{1, 1_000, 100_000}, more()...) {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { start(b, keys) })
	}
}

// moreKeys is for make bench-big.
var moreKeys = flag.Int("keys", 0, "measure a start with so many keys too")

func more() []int {
	if *moreKeys == 0 {
		return nil
	}
	return []int{*moreKeys}
}

func start(b *testing.B, keys int) {
	w := newWorld(b, func(*testkit.Domain) {})
	w.up(0) // with a snapshot of an empty log
	bare := w.memory("RssAnon")
	w.down()
	fill(b, w.Domain, keys)
	began := time.Now()
	w.up(0)
	replay, replayed := time.Since(began), w.processorTime()
	w.down()
	var resident, own float64
	var used time.Duration
	for b.Loop() {
		w.up(0)
		b.StopTimer()
		resident, own, used = w.memory("VmRSS"), w.memory("RssAnon"), used+w.processorTime()
		w.down()
		b.StartTimer()
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(replay.Nanoseconds()), "replay-ns")
	b.ReportMetric(float64(replayed.Nanoseconds()), "replay-cpu-ns")
	b.ReportMetric(resident, "MiB-RSS") // what of the store's file is mapped and in memory included
	b.ReportMetric(own, "MiB-own")
	b.ReportMetric((own-bare)*(1<<20)/float64(keys), "B-own/key")
}

// TestFilledKeysAreKeys holds that the benchmarks' log is one that a server takes
// and serves from, and not a list of voids.
func TestFilledKeysAreKeys(t *testing.T) {
	d := testkit.New(t, testkit.Options{})
	p := d.Enroll("app1")
	d.Stop()
	fill(t, d, 3)
	d.Start()
	state := d.State()
	if len(state.Voids) != 0 || state.KeyCount() != 3 || len(state.KeyNamed("bench/2").Versions) != 1 {
		t.Fatalf("%d keys, voids: %v", state.KeyCount(), state.Voids)
	}
	d.Allow("app1", "bench/2")
	c := d.Dial(p)
	object, err := c.Encrypt(t.Context(), "bench/2", []byte("text"), client.EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := c.Decrypt(t.Context(), object, client.DecryptOptions{Keys: []string{"bench/2"}})
	if err != nil || string(text) != "text" {
		t.Fatalf("%q, %v", text, err)
	}
	d.Rotate("bench/2")
	if k := d.Key("bench/2"); len(k.Versions) != 2 {
		t.Errorf("%d versions after a rotation", len(k.Versions))
	}
}
