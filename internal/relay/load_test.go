// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// plain is a connection that asks by HTTP/1.1 with as little ado as possible: what
// a benchmark's load costs is not what it is about.
type plain struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	host string
}

func dialPlain(x *site) (*plain, error) {
	host := strings.TrimPrefix(x.url, "https://")
	conn, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, err
	}
	return &plain{conn: conn, in: bufio.NewReaderSize(conn, 8<<10), host: host}, nil
}

// post returns the status of the answer and its body.
func (p *plain) post(path, token string, body []byte) (int, []byte, error) {
	p.out = fmt.Appendf(p.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", path, p.host, len(body))
	if token != "" {
		p.out = fmt.Appendf(p.out, "Claviger-Token: %s\r\n", token)
	}
	p.out = append(append(p.out, "\r\n"...), body...)
	if _, err := p.conn.Write(p.out); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

// standIn answers what the server's mailbox gets with the same message, over a few
// connections of its own, until its stream ends.
func (s *keyServer) standIn(connections int) error {
	received := s.box.receive()
	deliveries := make(chan *wire.Delivery, connections)
	for range connections {
		p, err := dialPlain(s.box.site)
		if err != nil {
			return err
		}
		s.box.t.Cleanup(func() { p.conn.Close() })
		go func() {
			for d := range deliveries {
				if _, _, err := p.post("/v1/answer/"+hex.EncodeToString(d.Correlation), "", d.Data); err != nil {
					return
				}
			}
		}()
	}
	in := bufio.NewReaderSize(received.resp.Body, 64<<10)
	go func() {
		defer close(deliveries)
		for {
			message, err := transport.ReadFrame(in, wire.MaxDelivery)
			if err != nil {
				return
			}
			if len(message) == 0 {
				continue
			}
			d, err := wire.ParseDelivery(message)
			if err != nil {
				return
			}
			deliveries <- d
		}
	}()
	return nil
}

// BenchmarkRoundTrips measures exchanges of 3 KiB each way, which is what requests
// and releases take, from a hundred connections at once; who asks, the relay and
// the stand-in for the server share the processors. cpu-ns/op is what all three
// took of them, whatever else the machine does.
func BenchmarkRoundTrips(b *testing.B) {
	x, server, token := one(b, setup{options: unlimited})
	if err := server.standIn(16); err != nil {
		b.Fatal(err)
	}
	const connections = 100
	path := boxPath(server.box.id(), "exchange")
	message := sealed(string(make([]byte, 2<<10)))
	all := make([]*plain, connections)
	for i := range all {
		var err error
		if all[i], err = dialPlain(x); err != nil {
			b.Fatal(err)
		}
		defer all[i].conn.Close()
		if status, body, err := all[i].post(path, token, message); err != nil || status != 200 {
			b.Fatalf("%d %s %v", status, body, err)
		}
	}
	took := make([][]time.Duration, connections)
	clk := clock.Process()
	var group sync.WaitGroup
	b.ResetTimer()
	before := spent(b)
	for i, p := range all {
		group.Go(func() {
			for n := i; n < b.N; n += connections {
				began := clk.Boot()
				if status, body, err := p.post(path, token, message); err != nil || status != 200 {
					b.Errorf("%d %s %v", status, body, err)
					return
				}
				took[i] = append(took[i], clk.Boot()-began)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	each := slices.Concat(took...)
	slices.Sort(each)
	b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
	b.ReportMetric(float64(each[(len(each)*99+99)/100-1].Microseconds())/1000, "p99-ms")
}

// spent is the processor time of this process so far.
func spent(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
