// SPDX-License-Identifier: Apache-2.0

package holders_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/holders"
	"claviger/internal/wire"
)

// crowd is a table of many holders of one key.
func crowd(n int) (*holders.Table, *clock.Manual, []holders.Holder) {
	now := clock.NewManual(time.UnixMilli(1_000_000_000))
	t := holders.New(holders.Options{Now: now.Now})
	t.Advance(holders.State{Epoch: wire.Epoch{Generation: 1, Position: 1}, Alone: true})
	all := make([]holders.Holder, n)
	for i := range all {
		all[i] = holders.Holder{Client: fmt.Sprint("spiffe://example.org/workload/app", i), Mailbox: wire.Sum("m", binary.BigEndian.AppendUint32(nil, uint32(i)))}
		t.Record(all[i], wire.Epoch{Generation: 1, Position: 1}, []holders.Lease{{
			Key: wire.KeyID{1}, Version: 1, Revocation: []wire.RevocationID{{1}, {2}, {3, byte(i), byte(i >> 8)}}, Issued: now.Now().UnixMilli(), Lease: 3600, Staleness: 900,
		}})
	}
	return t, now, all
}

// BenchmarkRecord is what a release pays.
func BenchmarkRecord(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	t, now, all := crowd(50_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	i := 0
	for b.Loop() {
		t.Record(all[i%len(all)], wire.Epoch{Generation: 1, Position: 1}, []holders.Lease{{
			Key: wire.KeyID{1}, Version: 1, Revocation: []wire.RevocationID{{1}, {2}, {3}}, Issued: now.Now().UnixMilli(), Lease: 3600, Staleness: 900,
		}})
		i++
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/50_000, "B/holder")
}

// BenchmarkRevocation has 50,000 holders lose a key, acknowledge, and be reported
// on.
func BenchmarkRevocation(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		t, now, all := crowd(50_000)
		e := wire.Epoch{Generation: 1, Position: 2}
		o := holders.Order{Of: "key:1", ID: wire.RevocationID{1}, Epoch: e, At: now.Now().UnixMilli(), Lease: 3600}
		b.StartTimer()
		start := b.Elapsed()
		t.Advance(holders.State{Epoch: e, Alone: true, Orders: []holders.Order{o}})
		tracked := b.Elapsed()
		for _, h := range all {
			t.Acked(h.Mailbox, e, now.Now().UnixMilli())
		}
		acked := b.Elapsed()
		if r, ok := t.Report(e); !ok || !r.Done() || r.Dark != 50_000 {
			b.Fatalf("%+v", r)
		}
		b.ReportMetric(float64((tracked-start).Microseconds())/1000, "ms/revoke")
		b.ReportMetric(float64((acked-tracked).Nanoseconds())/50_000, "ns/ack")
		b.ReportMetric(float64((b.Elapsed()-acked).Microseconds())/1000, "ms/report")
	}
}
