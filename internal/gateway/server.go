// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/limits"
	"claviger/internal/newcomers"
)

const (
	shutdownGrace  = 10 * time.Second
	headersWithin  = 10 * time.Second
	idleFor        = 2 * time.Minute
	maxHeaders     = 32 << 10
	maxConnections = 8192
	maxRunning     = 1024      // requests in handlers
	maxBodies      = 128 << 20 // bytes of all bodies that are there or on their way
	strangerLines  = 100       // a second in the log about requests of strangers
)

// Keys is the key server behind the doors; *keyserver.Server is one.
type Keys interface {
	With(context.Context, func(context.Context, *keyserver.Core) error) error
}

// Certificate finds the certificate for a handshake, and the hosts that it is for
// beside those that its files name.
type Certificate interface {
	// Get returns the certificate to show; hosts are the names of all endpoints.
	Get(hello *tls.ClientHelloInfo, hosts []string) (*tls.Certificate, error)
}

// Options of a Server.
type Options struct {
	Keys        Keys
	Kinds       Kinds
	Certificate Certificate
	Public      string // origin under which others reach the port, https://host[:port]; "": the listener's address
	Clock       clock.Clock
	Logger      *slog.Logger          // nil: no log
	Metrics     prometheus.Registerer // nil: nobody counts
}

// Server answers at the port of the doors. It is safe for concurrent use.
type Server struct {
	o       Options
	meter   *meter
	bodies  *room
	running chan struct{}
	watch   clock.Clock           // for how long requests take
	lines   *bucket               // of the log, for strangers
	index   atomic.Pointer[index] // of the newest state that a request has met

	unwritten atomic.Int64 // such lines, since the last that was written

	mu     sync.Mutex
	public string
	doors  map[string]*mounted // by the endpoint's name
	closed bool                // the doors were made anew when the server was found sealed
}

// New returns a server that answers nothing yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		o: o, meter: newMeter(o.Metrics), bodies: &room{left: maxBodies}, running: make(chan struct{}, maxRunning),
		watch: clock.Process(), lines: newBucket(clock.Process(), strangerLines, 0), public: o.Public, doors: map[string]*mounted{},
	}
}

// Serve answers until ctx ends, then lets running requests finish and returns.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	if s.public == "" {
		s.public = "https://" + l.Addr().String()
	}
	s.mu.Unlock()
	var fresh newcomers.Set
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: headersWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeaders,
		ConnState: fresh.State, ConnContext: withShown,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		// HTTP/1.1 costs half of HTTP/2 per request in net/http, and every client of
		// these protocols speaks it.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(tls.NewListener(limits.Listener(l, maxConnections), s.tlsConfig())) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("serve the doors: %w", err)
	}
	fresh.Cut()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		err = errors.Join(err, srv.Close()) // the grace is over: what still runs is cut
	}
	return err
}

// ServeHTTP answers one request and leaves its line in the log.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		s.ping(w, r)
		return
	}
	done := &exchange{ResponseWriter: w, start: s.watch.Boot()}
	defer s.finish(done, r)
	h := done.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	at, err := s.find(r)
	if err != nil {
		done.err = err
		plainFailure(done, err)
		return
	}
	done.door, done.sealed = at.mounted, at.sealed
	at.serve(done, r, at.below)
}

// plainFailure answers for no door: nobody learns what there is.
func plainFailure(w http.ResponseWriter, err error) {
	w.Header().Set("Connection", "close")
	if FailureOf(err) == NoRoute {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	http.Error(w, "unavailable", http.StatusServiceUnavailable)
}

// ping is for load balancers: whether doors can answer.
func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if err := s.o.Keys.With(r.Context(), func(_ context.Context, c *keyserver.Core) error { return c.Usable() }); err != nil {
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("pong\n")) // whoever asked has gone
}
