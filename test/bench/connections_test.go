// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
)

// connections is how many stay open at once; bench-big has as many as a server takes.
var connections = flag.Int("connections", 1000, "connections of mutual TLS that are open at once")

// BenchmarkConnections opens connections of mutual TLS to a server, which is a process
// of its own on one processor, has each ask for the keys that its certificate may use,
// keeps all open and asks once more on each: what a connection costs to open, in the
// server's processor time, and to keep, in its memory.
func BenchmarkConnections(b *testing.B) {
	needFiles(b, *connections)
	w, raw := loaded(b)
	clk := clock.Process()
	for range b.N {
		w.down()
		w.up(1)
		one := w.open(1, raw.Identity) // what a first request makes is not a connection's
		memory, used, began := w.memory("RssAnon"), w.processorTime(), clk.Boot()
		all := w.open(*connections, raw.Identity)
		took, cost := clk.Boot()-began, w.processorTime()-used
		for _, c := range all {
			if err := c.ask(); err != nil {
				b.Fatalf("one of %d open connections: %v", len(all), err)
			}
		}
		each := float64(len(all))
		b.ReportMetric(float64(took.Nanoseconds())/each, "ns/op")
		b.ReportMetric(float64(cost.Nanoseconds())/each, "cpu-ns/op")
		b.ReportMetric((w.memory("RssAnon")-memory)*1024/each, "KiB/conn")
		b.ReportMetric(w.memory("VmRSS"), "MiB-RSS")
		b.ReportMetric(each, "connections")
		for _, c := range append(all, one...) {
			c.Close()
		}
	}
}

// needFiles stops where this process, or a child of it, may not open so many.
func needFiles(b *testing.B, connections int) {
	b.Helper()
	var limit syscall.Rlimit
	must(b, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if need := uint64(connections) + 256; limit.Cur < need {
		b.Fatalf("%d connections need %d open files in each of two processes, and the limit is %d: raise it (ulimit -Hn %d; ulimit -n %d) or ask for fewer (-args -connections N)",
			connections, need, limit.Cur, need, need)
	}
}

// asker is an open connection.
type asker struct {
	*tls.Conn
	answers *bufio.Reader
}

func (a *asker) ask() error {
	// A server that takes no more connections leaves the next waiting.
	if err := a.SetDeadline(clock.System().Now().Add(time.Minute)); err != nil {
		return err
	}
	return ask(a.Conn, a.answers, []byte("GET /v1/keys HTTP/1.1\r\nHost: claviger\r\n\r\n"))
}

// open opens connections, some at a time, each of which asks once.
func (w *world) open(n int, identity *tls.Certificate) []*asker {
	w.b.Helper()
	out := make([]*asker, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, 16) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				c, err := w.dial(identity)
				if err != nil {
					w.b.Errorf("connection %d of %d: %v", i+1, n, err)
					next.Store(int64(n))
					return
				}
				out[i] = c
			}
		})
	}
	all.Wait()
	if w.b.Failed() {
		w.b.FailNow()
	}
	return out
}

func (w *world) dial(identity *tls.Certificate) (*asker, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", w.Address, tlscert.ClientConfig(w.Pin(), identity))
	if err != nil {
		return nil, fmt.Errorf("the server takes no more: %w", err)
	}
	a := &asker{conn, bufio.NewReaderSize(conn, 1024)}
	return a, a.ask()
}
