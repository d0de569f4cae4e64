// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Defaults.
const (
	DefaultStatementEvery = 30 * time.Second
	shutdownGrace         = 10 * time.Second
)

// Options of a Server.
type Options struct {
	Dir            string // data directory made by Init
	Domain         wire.DomainID
	Demo           bool // serve a demo domain, and nothing else
	Clock          clock.Clock
	Logger         *slog.Logger
	Accept         []byte        // a quorum-signed head to start on (authority.AcceptRollback)
	StatementEvery time.Duration // 0: DefaultStatementEvery

	metrics *metrics
}

// Listeners that a Server answers on. API is required.
type Listeners struct {
	API     net.Listener // native API, TLS 1.3
	Metrics net.Listener // Prometheus, plain HTTP on loopback
	Control net.Listener // Unix socket: seal, unseal, status
}

// Server is a key server, sealed or not. It is safe for concurrent use.
type Server struct {
	o       Options
	cert    tls.Certificate
	tlsKey  wire.Hash
	admins  *authn.AdminVerifier
	metrics *metrics

	mu     sync.RWMutex // held for reading while a request runs
	core   *Core
	stop   context.CancelFunc // of the core's duties
	duties sync.WaitGroup
	shares []*secret.Bytes // brought so far to a sealed server
	base   context.Context
}

// New returns a sealed server with a TLS key of its own, new at each start.
func New(o Options) (*Server, error) {
	if o.StatementEvery == 0 {
		o.StatementEvery = DefaultStatementEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cert, spki, err := tlscert.SelfSigned(o.Clock)
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	o.metrics = m
	return &Server{
		o: o, cert: cert, tlsKey: spki, metrics: m, base: context.Background(),
		admins: authn.NewAdminVerifier(o.Domain, spki, o.Clock),
	}, nil
}

// ErrUnsealed means that the server is open already.
var ErrUnsealed = errors.New("the server is unsealed already")

// Unseal opens the server with the root secret, which the server owns from then
// on, also if this fails.
func (s *Server) Unseal(ctx context.Context, r *root.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.core != nil {
		r.Wipe()
		return ErrUnsealed
	}
	core, err := openCore(ctx, s.o, r, s.tlsKey)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(s.base)
	if err := core.execute(ctx); err != nil {
		s.o.Logger.Error("Duty failed", "error", err)
		core.alarm(ctx, clip(err.Error()))
	}
	s.core, s.stop = core, stop
	s.dropShares()
	s.duties.Go(func() { core.run(run) })
	s.metrics.sealed.Set(0)
	s.o.Logger.Info("Unsealed", "server", core.id.String(), "protection", secret.Protection())
	return nil
}

// Seal forgets the root and everything derived from it. It waits for requests
// that are running.
func (s *Server) Seal(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.core == nil {
		return nil
	}
	s.stop()
	s.duties.Wait()
	err := s.core.close(ctx)
	s.core = nil
	s.metrics.sealed.Set(1)
	s.o.Logger.Info("Sealed")
	return err
}

// Sealed reports whether the server is sealed.
func (s *Server) Sealed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.core == nil
}

// with runs f on the open core, and keeps it open meanwhile.
func (s *Server) with(f func(*Core) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.core == nil {
		return ErrSealed
	}
	return f(s.core)
}

// Serve answers until ctx ends, then lets running requests finish, seals the
// server and returns.
func (s *Server) Serve(ctx context.Context, l Listeners) error {
	servers := []*http.Server{s.apiServer()}
	listeners := []net.Listener{tls.NewListener(l.API, tlscert.ServerConfig(s.cert))}
	if l.Metrics != nil {
		servers, listeners = append(servers, plainServer(s.metricsHandler())), append(listeners, l.Metrics)
	}
	if l.Control != nil {
		servers, listeners = append(servers, plainServer(s.controlHandler())), append(listeners, l.Control)
	}
	ended := make(chan error, len(servers))
	for i, srv := range servers {
		go func() { ended <- srv.Serve(listeners[i]) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("serve: %w", err)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	for _, srv := range servers {
		if serr := srv.Shutdown(grace); serr != nil {
			_ = srv.Close() // the grace is over: what still runs is cut
		}
	}
	return errors.Join(err, s.Seal(grace))
}

func (s *Server) apiServer() *http.Server {
	return &http.Server{
		Handler: s.handler(), ConnContext: newConnContext, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		// HTTP/1.1 costs half of HTTP/2 per request in net/http.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

func plainServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second}
}

// rootDir is where the custody file lies.
func (s *Server) rootDir() string { return filepath.Join(s.o.Dir, dirRoot) }

func (s *Server) dropShares() {
	for _, share := range s.shares {
		share.Wipe()
	}
	s.shares = nil
}
