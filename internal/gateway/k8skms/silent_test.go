// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/testkit"
)

// silence is a listener whose connections, once it is on, swallow what comes.
type silence struct {
	net.Listener
	on   atomic.Bool
	over chan struct{}
}

func (s *silence) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &silentConn{conn, s}, nil
}

type silentConn struct {
	net.Conn
	s *silence
}

func (c *silentConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.s.on.Load() {
		<-c.s.over
		return 0, net.ErrClosed
	}
	return n, err
}

// TestServerSilent: a key server that takes connections and never answers costs an API
// server less than the 3 s that it waits.
func TestServerSilent(t *testing.T) {
	quiet := &silence{over: make(chan struct{})}
	w := newWorldWith(t, testkit.Options{Listen: func(l net.Listener) net.Listener {
		quiet.Listener = l
		return quiet
	}})
	sealed := w.mustSeal(seed)
	if s := w.status(); s.healthz != healthy {
		t.Fatalf("status %+v", s)
	}
	quiet.on.Store(true)
	defer close(quiet.over)
	w.clock.Advance(2 * time.Minute) // so that news is due
	begin := time.Now()
	if s := w.status(); s.healthz != healthy {
		t.Errorf("status %+v", s)
	}
	if got, err := w.open(sealed); err != nil || got != seed {
		t.Errorf("opened %q, %v", got, err)
	}
	if took := time.Since(begin); took > 2*3*time.Second {
		t.Errorf("two calls took %v", took)
	}
}
