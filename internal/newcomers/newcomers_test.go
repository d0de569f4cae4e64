// SPDX-License-Identifier: Apache-2.0

package newcomers_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"claviger/internal/newcomers"
)

// TestCut: a connection on which nothing was asked is closed when the
// server stops, as is each that comes later; one with a question on it isn't.
func TestCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var set newcomers.Set
	states := make(chan http.ConnState, 64)
	asked, answer := make(chan struct{}), make(chan struct{})
	server := &http.Server{
		ConnState: func(c net.Conn, s http.ConnState) { set.State(c, s); states <- s },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			<-answer
			fmt.Fprint(w, "answered")
		}),
	}
	go server.Serve(l)
	defer server.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		for s := range states { // others may end meanwhile
			if s == http.StateNew {
				break
			}
		}
		return conn
	}
	busy := dial()
	fmt.Fprint(busy, "GET / HTTP/1.0\r\n\r\n")
	<-asked
	<-states // it is active
	silent := dial()
	set.Cut()
	for what, conn := range map[string]net.Conn{"silent": silent, "late": dial()} {
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("the %s connection is open: %v", what, err)
		}
	}
	close(answer)
	if text, err := io.ReadAll(busy); err != nil || len(text) == 0 {
		t.Errorf("who had asked got %q, %v", text, err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
