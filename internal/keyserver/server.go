// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"claviger/internal/audit"
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
	sealGrace             = 3 * time.Second  // for requests that are running when a seal comes
	closeGrace            = 30 * time.Second // to anchor and close the audit log at the end
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

	AuditFS audit.FS // where the audit log lies; nil: the operating system's

	// TLS is the API's certificate, whose key the descriptors name; nil: a new one
	// at each start.
	TLS *tls.Certificate

	metrics *metrics
	gate    *gate
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
	enrolls *sources
	gate    *gate
	metrics *metrics

	life      sync.Mutex // one Unseal or Seal at a time
	gathering sync.Mutex // one unseal request of the control socket at a time

	mu     sync.Mutex
	open   *opened               // nil while sealed
	shares map[int]*secret.Bytes // brought so far to a sealed server, by index
}

// opened is an unsealed core and what runs on it.
type opened struct {
	core     *Core
	duties   sync.WaitGroup
	stop     context.CancelFunc       // of the duties
	requests sync.WaitGroup           // grows only while the server's open points here
	onCut    func(func()) func() bool // context.AfterFunc of what ends requests that outlast a seal's grace
	end      context.CancelFunc
}

// New returns a sealed server with a TLS key of its own, new at each start.
func New(o Options) (*Server, error) {
	if o.StatementEvery == 0 {
		o.StatementEvery = DefaultStatementEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cert, spki, err := certificate(o)
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	o.metrics = m
	s := &Server{
		o: o, cert: cert, tlsKey: spki, metrics: m, gate: newGate(), shares: map[int]*secret.Bytes{}, enrolls: newSources(o.Clock),
		admins: authn.NewAdminVerifier(o.Domain, spki, o.Clock),
	}
	s.o.gate = s.gate
	return s, nil
}

func certificate(o Options) (cert tls.Certificate, spki wire.Hash, err error) {
	if o.TLS == nil {
		return tlscert.SelfSigned(o.Clock)
	}
	leaf, err := x509.ParseCertificate(o.TLS.Certificate[0])
	if err != nil {
		return cert, spki, fmt.Errorf("read TLS certificate: %w", err)
	}
	return *o.TLS, wire.KeyHash(leaf.PublicKey), nil
}

// ErrUnsealed means that the server is open already.
var ErrUnsealed = errors.New("the server is unsealed already")

// Unseal opens the server with the root secret, which the server owns from then
// on, also if this fails. Requests get ErrSealed until it is done.
func (s *Server) Unseal(ctx context.Context, r *root.Secret) error {
	s.life.Lock()
	defer s.life.Unlock()
	if !s.Sealed() {
		r.Wipe()
		return ErrUnsealed
	}
	core, err := openCore(ctx, s.o, r, s.tlsKey)
	if err != nil {
		return err
	}
	if err := core.execute(ctx); err != nil {
		core.dutyFailed(ctx, err)
	}
	o := &opened{core: core}
	run, stop := context.WithCancel(context.Background())
	o.stop = stop
	cut, end := context.WithCancel(context.Background())
	o.onCut, o.end = func(f func()) func() bool { return context.AfterFunc(cut, f) }, end
	o.duties.Go(func() { core.run(run) })
	s.mu.Lock()
	s.open = o
	s.mu.Unlock()
	s.dropShares()
	s.metrics.sealed.Set(0)
	s.o.Logger.Info("Unsealed", "server", core.id.String(), "protection", secret.Protection())
	return nil
}

// Seal forgets the root and everything derived from it. New requests are refused
// at once; those that are running get a few seconds, then they are cut.
func (s *Server) Seal(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	o := s.open
	s.open = nil
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	o.stop()
	o.duties.Wait()
	cut := time.AfterFunc(sealGrace, o.end)
	o.requests.Wait()
	cut.Stop()
	o.end()
	err := o.core.close(ctx)
	s.metrics.sealed.Set(1)
	s.o.Logger.Info("Sealed")
	return err
}

// Sealed reports whether the server is sealed.
func (s *Server) Sealed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == nil
}

// with runs f on the open core, and keeps it open meanwhile. The context that f
// gets ends when a seal can wait no longer.
func (s *Server) with(ctx context.Context, f func(context.Context, *Core) error) error {
	s.mu.Lock()
	o := s.open
	if o == nil {
		s.mu.Unlock()
		return ErrSealed
	}
	o.requests.Add(1)
	s.mu.Unlock()
	defer o.requests.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer o.onCut(cancel)()
	return f(ctx, o.core)
}

// Serve answers until ctx ends, then lets running requests finish, seals the
// server and returns.
func (s *Server) Serve(ctx context.Context, l Listeners) error {
	servers := []*http.Server{s.apiServer()}
	listeners := []net.Listener{tls.NewListener(limitConnections(l.API, maxConnections), tlscert.ServerConfig(s.cert))}
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
	s.dropShares()
	// The grace may be used up by now; the last anchor must not depend on it.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancelLast()
	return errors.Join(err, s.Seal(last))
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, share := range s.shares {
		share.Wipe()
	}
	clear(s.shares)
}
