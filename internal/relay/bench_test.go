// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
)

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func unlimited(o *relay.Options) {
	o.Limits.Rate, o.Limits.Burst, o.Limits.UnderWay, o.Limits.Bodies, o.Limits.BodiesPerAddress = 1e6, 1e6, 1e6, 1e6, 1e6
}

// BenchmarkExchange measures exchanges of 8 KiB, request and answer, with a server
// that answers at once; client, relay and server share the processors.
func BenchmarkExchange(b *testing.B) {
	x, server, token := one(b, setup{options: unlimited})
	server.echo()
	path := boxPath(server.box.id(), "exchange")
	message := sealed(string(make([]byte, 8<<10)))
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		client := x.caller()
		for pb.Next() {
			if got := client.ask("POST", path, message, "Claviger-Token", token); got.status != 200 {
				b.Errorf("%d %s", got.status, got.body)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}

// BenchmarkFanOut measures the time from a server's put of a statement until the
// last of a thousand followers has it.
func BenchmarkFanOut(b *testing.B) {
	x, server, _ := one(b, setup{options: unlimited})
	const many, connections = 1000, 10
	var callers []*caller
	for n := range connections {
		callers = append(callers, x.callerFrom(fmt.Sprintf("127.0.0.%d", 10+n)))
	}
	streams := make([]*frames, many)
	for n := range streams {
		streams[n] = callers[n%connections].stream(server.board("follow"))
	}
	issued := server.box.now()
	clk := clock.Process()
	var sum time.Duration
	b.ResetTimer()
	for n := range b.N {
		statement := server.statement(issued.Add(time.Duration(n) * time.Millisecond))
		var all sync.WaitGroup
		began := clk.Boot()
		for _, s := range streams {
			all.Go(func() {
				if _, err := s.next(); err != nil {
					b.Error(err)
				}
			})
		}
		for server.box.owner("PUT", server.board("statement"), statement).status == 429 {
			began = clk.Boot() // the board takes ten a second
		}
		all.Wait()
		sum += clk.Boot() - began
	}
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(b.N), "ms/last-of-1000")
}

// BenchmarkIdleReceivers measures the heap that a thousand receivers take that hear
// nothing, with both ends of their streams in this process.
func BenchmarkIdleReceivers(b *testing.B) {
	x, _, _ := one(b, setup{options: unlimited})
	const many, connections = 1000, 10
	var transports []*caller
	for n := range connections {
		transports = append(transports, x.callerFrom(fmt.Sprintf("127.0.0.%d", 10+n)))
	}
	for range b.N {
		before := heap()
		streams := make([]*frames, many)
		for n := range streams {
			c := x.caller()
			c.http = transports[n%connections].http
			streams[n] = c.receive()
		}
		b.ReportMetric(float64(int64(heap())-int64(before))/many, "B/receiver")
		for _, s := range streams {
			s.stop()
		}
		eventually(b, "all are gone", func() bool { return len(dump(b, x).Receivers) == 0 })
	}
}

// BenchmarkParcels measures parcels of 8 KiB that are put, synced to disk.
func BenchmarkParcels(b *testing.B) {
	_, server, _ := one(b, setup{options: unlimited})
	soon := server.box.now().Add(time.Hour)
	for n := range b.N {
		box := server.box.id()
		box[0], box[1], box[2] = byte(n), byte(n>>8), byte(n>>16)
		must(b, "parcel", server.parcel(box, soon, sealed(string(make([]byte, 8<<10)))))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "parcels/s")
}
