// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"claviger/internal/clock"
)

// Bounds of work. A request that would wait longer than it is worth is told so
// at once (429), while answering costs nothing yet.
const (
	maxInFlight    = 1024 // requests with public-key work, running or waiting
	maxEnrolling   = 64   // of them, enrolments: anyone may send those
	enrollPerSec   = 20   // enrolments of one address a second, …
	enrollBurst    = 100  // … after a burst of this many
	maxSources     = 1 << 16
	workPerCPU     = 4
	maxConnections = 8192
)

// gate bounds the requests in flight and, among them, those that compute.
type gate struct {
	all    chan struct{}
	enroll chan struct{}
	cpu    chan struct{}
}

func newGate() *gate {
	return &gate{make(chan struct{}, maxInFlight), make(chan struct{}, maxEnrolling), make(chan struct{}, workPerCPU*runtime.GOMAXPROCS(0))}
}

// admit takes one of the places or fails at once with ErrBusy. The caller calls
// leave when its answer is made.
func admit(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, fmt.Errorf("%w: the server has as much to do as it can; try again in a second", ErrBusy)
	}
}

// work waits for a turn to compute. The turn is given back before waiting for
// the disk; giving it back twice does nothing.
func (g *gate) work(ctx context.Context) (done func(), err error) {
	select {
	case g.cpu <- struct{}{}:
		return sync.OnceFunc(func() { <-g.cpu }), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: waited too long for a turn: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// sources gives every client address a rate. It is for what anyone may send
// unauthenticated, so its memory is bounded and its clock is the boot clock.
type sources struct {
	clock clock.Clock
	mu    sync.Mutex
	known map[netip.Prefix]*tokens
	swept time.Duration
}

type tokens struct {
	left float64
	at   time.Duration
}

func newSources(c clock.Clock) *sources {
	return &sources{clock: c, known: map[netip.Prefix]*tokens{}}
}

// take uses one token of the address, or fails with ErrBusy.
func (s *sources) take(remote string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Boot()
	from := sourceOf(remote)
	t := s.known[from]
	if t == nil {
		if len(s.known) >= maxSources && !s.makeRoom(now) {
			return fmt.Errorf("%w: enrolments from too many addresses", ErrBusy)
		}
		t = &tokens{enrollBurst, now}
		s.known[from] = t
	}
	t.left = min(enrollBurst, t.left+(now-t.at).Seconds()*enrollPerSec)
	t.at = now
	if t.left < 1 {
		return fmt.Errorf("%w: more than %d enrolments a second from one address", ErrBusy, enrollPerSec)
	}
	t.left--
	return nil
}

// makeRoom forgets addresses whose burst is full again, at most once a second.
func (s *sources) makeRoom(now time.Duration) bool {
	if now < s.swept+time.Second && s.swept > 0 {
		return false
	}
	s.swept = now
	for from, t := range s.known {
		if (now-t.at).Seconds()*enrollPerSec >= enrollBurst-t.left {
			delete(s.known, from)
		}
	}
	return len(s.known) < maxSources
}

// sourceOf is the address, or the /64 that one IPv6 host has to itself.
func sourceOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // not a network address: all such share one rate
	}
	addr, bits := at.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}

// limitedListener holds at most maxConnections connections open, so that idle
// ones can't take every file descriptor from journal and store.
type limitedListener struct {
	net.Listener
	places chan struct{}
	over   chan struct{}
	once   sync.Once
}

func limitConnections(l net.Listener, most int) *limitedListener {
	return &limitedListener{Listener: l, places: make(chan struct{}, most), over: make(chan struct{})}
}

// Accept waits for a place first: whoever comes later waits in the kernel.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.over:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.over) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
