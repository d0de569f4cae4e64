// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"claviger/internal/clock"
)

// BenchmarkEnter is the cost of a durable leaf on a real file, by the number of
// goroutines that each wait for their own.
func BenchmarkEnter(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			o := testOptions(OS())
			o.Dir, o.Clock = filepath.Join(b.TempDir(), "audit"), clock.System()
			l := mustOpen(b, o)
			var next atomic.Int64
			var group sync.WaitGroup
			before := cpu(b)
			b.ResetTimer()
			for range writers {
				group.Go(func() {
					leaf := testLeaf(1)
					for next.Add(1) <= int64(b.N) {
						_, ticket, err := l.Enter(leaf)
						if err == nil {
							err = ticket.Wait(context.Background())
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/leaf")
			mustClose(b, l)
		})
	}
}

// cpu is the processor time of this process in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return syscall.TimevalToNsec(u.Utime) + syscall.TimevalToNsec(u.Stime)
}

// BenchmarkEncode is the encoding alone.
func BenchmarkEncode(b *testing.B) {
	leaf := testLeaf(1)
	leaf.Shape, leaf.Time = leafShape, 1
	b.ReportAllocs()
	for b.Loop() {
		body, err := leaf.encode()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
	}
}
