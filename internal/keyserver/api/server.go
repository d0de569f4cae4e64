// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/limits"
	"claviger/internal/keyserver/outward"
	"claviger/internal/keyserver/standing"
	"claviger/internal/newcomers"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

const (
	shutdownGrace  = 10 * time.Second
	closeGrace     = 30 * time.Second // to anchor and close the audit log at the end
	maxConnections = 16384
)

// Listeners that a Server answers on. Without API, clients reach it at relays and
// directories alone.
type Listeners struct {
	API     net.Listener // native API, TLS 1.3
	Metrics net.Listener // Prometheus, plain HTTP on loopback
	Control net.Listener // Unix socket: seal, unseal, status
}

// Server is a key server with its native API. Its life, from Unseal to Seal, is
// that of the keyserver.Server in it. It is safe for concurrent use.
type Server struct {
	*keyserver.Server
	clock   clock.Clock
	logger  *slog.Logger
	cert    tls.Certificate
	admins  *authn.AdminVerifier
	enrolls *limits.Sources
	metrics *metrics
	unseal  unsealer

	every    time.Duration // between statements
	follows  chan struct{} // places
	stopping chan struct{} // closed when Serve ends
	watch    clock.Clock   // for how long requests take
	room     []byte        // see heapRoom
}

// heapRoom is memory that is never touched, so that it takes none of the
// machine's. The garbage collector counts it for live, and so runs every 20 MiB and
// not every five: there is little that lives, and each run looks at all of it and
// at every connection's stack.
const heapRoom = 16 << 20

// New returns a sealed server. Without a certificate it makes one for itself,
// new at each start; the options' TLSKey and Meter are set here, and with
// carriers, which go with the options' Mailbox, Beside too.
func New(o keyserver.Options, given *tls.Certificate, carriers ...outward.Carrier) (*Server, error) {
	cert, spki, err := certificate(given, o.Clock)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics()
	o.TLSKey, o.Meter, o.StatementEvery = spki, m, cmp.Or(o.StatementEvery, keyserver.DefaultStatementEvery)
	if len(carriers) > 0 {
		o.Beside = beside(carriers, o.StatementEvery, m, o.Logger)
		o.Deliver = func(ctx context.Context, p standing.Parcel) error { return outward.Deliver(ctx, carriers, p) }
	}
	s := &Server{
		Server: keyserver.New(o), clock: o.Clock, logger: o.Logger, cert: cert, metrics: m,
		admins: authn.NewAdminVerifier(o.Domain, spki, o.Clock), enrolls: limits.NewSources(o.Clock),
		unseal: unsealer{dir: datadir.Dir(o.Dir).Root(), shares: map[int]*secret.Bytes{}},
		every:  o.StatementEvery, follows: make(chan struct{}, maxFollowers), stopping: make(chan struct{}),
		watch: clock.Process(), room: make([]byte, heapRoom),
	}
	m.ask(s.Sealed, s.holders)
	return s, nil
}

// UnsealFrom says what reads the file again that opens the root, for the control
// socket; without it whoever unseals has to bring something.
func (s *Server) UnsealFrom(file func() (root.Unlock, error)) {
	s.unseal.mu.Lock()
	defer s.unseal.mu.Unlock()
	s.unseal.file = file
}

// holders is how many hold leases of the unsealed server.
func (s *Server) holders() (n int) {
	_ = s.With(context.Background(), func(_ context.Context, c *keyserver.Core) error { n = c.Holders(); return nil }) // sealed: nobody is known
	return n
}

func certificate(given *tls.Certificate, c clock.Clock) (cert tls.Certificate, spki wire.Hash, err error) {
	if given == nil {
		return tlscert.SelfSigned(c)
	}
	leaf, err := x509.ParseCertificate(given.Certificate[0])
	if err != nil {
		return cert, spki, fmt.Errorf("read TLS certificate: %w", err)
	}
	return *given, wire.KeyHash(leaf.PublicKey), nil
}

// Unseal opens the server with the root secret, which the server owns from then
// on, also if this fails, and forgets what shares were brought.
func (s *Server) Unseal(ctx context.Context, r *root.Secret) error {
	err := s.Server.Unseal(ctx, r)
	if err == nil {
		s.unseal.drop()
	}
	return err
}

// Serve answers until ctx ends, then lets running requests finish, seals the
// server and returns.
func (s *Server) Serve(ctx context.Context, l Listeners) error {
	var servers []*http.Server
	var listeners []net.Listener
	if l.API != nil {
		servers = append(servers, s.apiServer())
		listeners = append(listeners, tls.NewListener(limits.Listener(l.API, maxConnections), tlscert.ServerConfig(s.cert)))
	}
	if l.Metrics != nil {
		servers, listeners = append(servers, plainServer(s.metricsHandler())), append(listeners, l.Metrics)
	}
	if l.Control != nil {
		servers, listeners = append(servers, plainServer(s.controlHandler())), append(listeners, l.Control)
	}
	ended := make(chan error, len(servers))
	var fresh newcomers.Set
	for i, srv := range servers {
		srv.ConnState = fresh.State
		go func() { ended <- srv.Serve(listeners[i]) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("serve: %w", err)
	}
	close(s.stopping) // Shutdown would wait for streams
	fresh.Cut()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	for _, srv := range servers {
		if serr := srv.Shutdown(grace); serr != nil {
			_ = srv.Close() // the grace is over: what still runs is cut
		}
	}
	s.unseal.drop()
	// The grace may be used up by now; the last anchor must not depend on it.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancelLast()
	return errors.Join(err, s.Seal(last))
}

func (s *Server) apiServer() *http.Server {
	return &http.Server{
		Handler: s.handler(), ConnContext: newConnContext, ReadTimeout: bodyWithin,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		// HTTP/1.1 costs half of HTTP/2 per request in net/http.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

func plainServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second}
}
