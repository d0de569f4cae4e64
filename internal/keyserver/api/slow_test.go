// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
)

// pipes is a listener whose connections are pipes, which know no time but the
// bubble's.
type pipes struct {
	in   chan net.Conn
	over chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.in:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.over); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.in <- far
	return near
}

// TestSlowBodies: a body that comes byte by byte is cut when its time is up, on
// every route, and others are answered meanwhile.
func TestSlowBodies(t *testing.T) {
	for _, row := range api.Routes() {
		t.Run(row.Method+" "+row.Path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { slowBody(t, row) })
		})
	}
}

func slowBody(t *testing.T, row api.RouteInfo) {
	s, err := api.New(keyserver.Options{Dir: t.TempDir(), Clock: clock.Process()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &pipes{in: make(chan net.Conn), over: make(chan struct{})}
	server := s.HTTP()
	go server.Serve(l)
	defer server.Close()
	slow := l.dial()
	start := time.Now()
	var trickle sync.WaitGroup
	defer trickle.Wait()
	defer slow.Close()
	trickle.Go(func() { // chunks of one byte, or of none where no body is taken
		if _, err := fmt.Fprintf(slow, "%s %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", row.Method, row.Path); err != nil {
			t.Error(err)
		}
		for err := error(nil); err == nil && row.Body > 0; time.Sleep(time.Second) {
			_, err = io.WriteString(slow, "1\r\nx\r\n")
		}
	})
	time.Sleep(5 * time.Second)
	if status, took := once(t, l.dial(), "GET", "/v1/health"); status != http.StatusOK || took != 0 {
		t.Errorf("meanwhile health says %d after %v", status, took)
	}
	resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if took := time.Since(start); resp.StatusCode != http.StatusRequestTimeout || took != 15*time.Second {
		t.Errorf("%d %s after %v", resp.StatusCode, body, took)
	}
	if _, err := slow.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is kept")
	}
}

// once makes one request over a connection.
func once(t *testing.T, c net.Conn, method, path string) (int, time.Duration) {
	t.Helper()
	defer c.Close()
	start := time.Now()
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, time.Since(start)
}
