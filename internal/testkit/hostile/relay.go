// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// Routes of a relay (docs/spec/relay.md, section 3), by their last fixed part.
const (
	Introductions   = "introductions"
	Statements      = "statements"
	Follow          = "follow"  // a stream
	Receive         = "receive" // a stream
	Exchange        = "exchange"
	Answer          = "answer"
	PutIntroduction = "introduction"
	PutStatement    = "statement"
	PutTokens       = "tokens"
	Parcels         = "parcels"
)

// Script decides what happens to a message, as testkit's does.
type Script = testkit.Script

// Frames decides what is written in the place of one frame of a stream: nothing,
// the same, another, several. It is called one frame at a time for each stream.
type Frames func(frame []byte) [][]byte

// Passed is one message on its way through, as it came to the relay and as the
// relay answered. A frame of a stream has no Question.
type Passed struct {
	Route    string
	Path     string
	Question []byte
	Answer   []byte
	Token    string // send token, as it was shown
}

// Relay is a relay whose owner does as a test says.
type Relay struct {
	Address string // with its pin
	Origin  string // https://host:port
	Dir     string // of what it keeps

	front *relay.Front

	mu      sync.Mutex
	scripts map[string]Script
	frames  map[string]Frames
	instead map[string]http.Handler
	seen    []Passed
}

// Options of New. The zero value works.
type Options struct {
	Clock  clock.Clock // nil: the system's; of what the relay compares with signatures
	Limits relay.Limits
}

// New starts an honest relay for some domains. It ends with the test.
func New(tb testing.TB, o Options, domains ...wire.DomainID) *Relay {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	// A test has one address, and may ask a lot in a short time.
	if o.Limits.Rate == 0 {
		o.Limits.Rate, o.Limits.Burst = 1e6, 1e6
	}
	ctx, cancel := context.WithCancel(context.Background())
	x := &Relay{Dir: tb.TempDir()}
	x.Honest()
	bus, err := natsbus.Open(ctx, natsbus.Options{Dir: x.Dir, Domains: domains, Clock: o.Clock})
	must(err)
	x.front, err = relay.New(ctx, relay.Options{
		Domains: domains, Limits: o.Limits, Bus: bus, Table: bus, Parcels: bus, Healthy: bus.Healthy, Clock: flowing{o.Clock, clock.System()},
	})
	must(err)
	cert, pin, err := tlscert.SelfSigned(clock.System())
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler: x, Protocols: protocols, ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0), // callers that give up are what tests are about
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(tls.NewListener(l, config)) }() // it ends by Close
	tb.Cleanup(func() {
		cancel()
		_ = server.Close() // the listener is gone in any case
		<-ended
		bus.Close()
	})
	x.Origin = "https://" + l.Addr().String()
	x.Address = x.Origin + "#" + wire.Hash(pin).String()
	return x
}

// flowing is a clock that a test sets, over one by which limits go on.
type flowing struct{ wall, boot clock.Clock }

func (f flowing) Now() time.Time      { return f.wall.Now() }
func (f flowing) Boot() time.Duration { return f.boot.Boot() }

// On has a script decide about a route from now on.
func (x *Relay) On(route string, s Script) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.scripts[route] = s
}

// Frames has f decide about the frames of a stream, [Follow] or [Receive], also of
// those that are open.
func (x *Relay) Frames(route string, f Frames) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frames[route] = f
}

// Instead answers a route with h, as HTTP and without a bound.
func (x *Relay) Instead(route string, h http.HandlerFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.instead[route] = h
}

// Honest makes the relay do as it should from now on.
func (x *Relay) Honest() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.scripts, x.frames, x.instead = map[string]Script{}, map[string]Frames{}, map[string]http.Handler{}
}

// Seen lists what passed by a route, or by any if it is empty.
func (x *Relay) Seen(route string) []Passed {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.seen), func(p Passed) bool { return route != "" && p.Route != route })
}

func (x *Relay) note(p Passed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = append(x.seen, p)
}

// RouteOf names the route of a path.
func RouteOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 1 && parts[1] == Answer:
		return Answer
	case len(parts) > 3:
		return parts[3]
	}
	return parts[len(parts)-1]
}

// ServeHTTP has a message go the way that the test says.
func (x *Relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := RouteOf(r.URL.Path)
	x.mu.Lock()
	script, instead := x.scripts[route], x.instead[route]
	x.mu.Unlock()
	if instead != nil {
		instead.ServeHTTP(w, r)
		return
	}
	if script == nil {
		script = testkit.Honest
	}
	if (route == Follow || route == Receive) && r.Method == http.MethodGet {
		x.stream(w, r, route, script)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return
	}
	m := testkit.Message{Method: r.Method, Path: r.URL.RequestURI(), Body: body, Authorization: r.Header.Get("Authorization")}
	answer := script(m, func(m testkit.Message) testkit.Answer { return x.forward(r, m) })
	x.note(Passed{Route: route, Path: m.Path, Question: body, Answer: answer.Body, Token: r.Header.Get("Claviger-Token")})
	if answer.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	if answer.Status < 300 {
		w.Header().Set("Content-Type", "application/cbor")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // the victim has gone
}

// forward has the honest relay answer a message. It may be called when who asked
// has gone, and more than once.
func (x *Relay) forward(r *http.Request, m testkit.Message) testkit.Answer {
	again, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), m.Method, m.Path, bytes.NewReader(m.Body))
	if err != nil {
		return testkit.Answer{}
	}
	again.Host, again.RemoteAddr, again.Header, again.RequestURI, again.TLS = r.Host, r.RemoteAddr, r.Header.Clone(), m.Path, r.TLS
	if m.Authorization != "" {
		again.Header.Set("Authorization", m.Authorization)
	}
	kept := &kept{header: http.Header{}}
	x.front.ServeHTTP(kept, again)
	return testkit.Answer{Status: kept.status, Body: kept.body.Bytes()}
}

// kept is an answer that is looked at before it goes out.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header { return k.header }
func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *kept) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}

// Flush, SetReadDeadline and SetWriteDeadline are there because the relay's front
// asks for them; nothing waits here.
func (k *kept) Flush()                           {}
func (k *kept) SetReadDeadline(time.Time) error  { return nil }
func (k *kept) SetWriteDeadline(time.Time) error { return nil }
