// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/material"
	"claviger/internal/wire"
)

// credential is what a route asks of its caller.
type credential int

const (
	anyone   credential = iota // the message proves itself, or there is nothing to hide
	workload                   // a client certificate
	admin                      // a request signed by an authority key or its session
	steward                    // likewise, or by a key of the recovery quorum or its session
)

// route is one operation of the native API. What stands in no route can't be
// reached.
type route struct {
	method  string
	path    string
	who     credential
	body    int64         // bytes of the request's body at most
	within  time.Duration // for the whole request
	handler func(*call) error
}

// call is one request on its way.
type call struct {
	w http.ResponseWriter
	*http.Request
	server *Server
	core   *keyserver.Core // nil on routes that work sealed
	caller *authn.Caller
	data   []byte
}

func routes() []route {
	const short, long = 15 * time.Second, 10 * time.Minute
	return []route{
		{"GET", "/v1/health", anyone, 0, short, health},
		{"GET", "/v1/ready", anyone, 0, short, ready},
		{"GET", "/v1/introduction", anyone, 0, short, introduction},
		{"GET", "/v1/statement", anyone, 0, short, statement},
		{"GET", "/v1/follow", anyone, 0, followFor, follow},
		{"POST", "/v1/enroll", anyone, wire.MaxEnroll + 4<<10, short, enroll},
		{"POST", "/v1/exchange", workload, wire.MaxSealedSize, short, exchange},
		{"GET", "/v1/keys", workload, 0, short, listKeys},
		{"POST", "/v1/use", workload, 4 << 20, short, useKeys},
		{"GET", "/v1/admin/records", steward, 0, short, readRecords},
		{"POST", "/v1/admin/entries", steward, wire.MaxBody + 4<<10, short, postEntry},
		{"GET", "/v1/admin/pending", steward, 0, short, readPending},
		{"GET", "/v1/admin/status", admin, 0, short, readStatus},
		{"GET", "/v1/admin/reach", admin, 0, short, readReach},
		{"GET", "/v1/admin/revocation", admin, 0, short, readRevocation},
		{"GET", "/v1/admin/audit", admin, 0, short, readAudit},
		{"GET", "/v1/admin/audit/export", admin, 0, long, exportAudit},
		{"POST", "/v1/admin/backup", admin, 0, long, makeBackup},
		{"POST", "/v1/admin/material", admin, material.MaxSize, short, putMaterial},
	}
}

// sealedRoutes work on a sealed server too.
func sealedRoute(path string) bool { return path == "/v1/health" || path == "/v1/ready" }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		count := s.metrics.route(r.path)
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) {
			start := s.watch.Boot()
			err := s.serve(&r, w, req)
			if err != nil {
				s.fail(w, err)
			}
			count(err, s.watch.Boot()-start)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.fail(w, errNoRoute) })
	return mux
}

var errNoRoute = errors.New("there is nothing here; docs/api.md lists the routes")

// bodyWithin is how long a request may take to come: bodies are small, and short
// ones can be trickled.
const bodyWithin = 15 * time.Second

// errorGrace is how long the answer to a request that ran out of time may take
// to leave.
const errorGrace = 5 * time.Second

// serve bounds, authenticates and handles one request.
func (s *Server) serve(r *route, w http.ResponseWriter, req *http.Request) error {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	rc := http.NewResponseController(w)
	// A client that reads nothing must not hold up a seal.
	end := func(why error) {
		cancel(why)
		_ = rc.SetWriteDeadline(clock.System().Now().Add(errorGrace))
	}
	defer time.AfterFunc(r.within, func() { end(context.DeadlineExceeded) }).Stop()
	c := &call{w: w, Request: req, server: s}
	// Reading a body doesn't look at the context: the server's ReadTimeout bounds it.
	// Until it is there the request holds a connection, and nothing else.
	var err error
	if c.data, err = readBody(w, req, r.body); err != nil {
		return err
	}
	// From here the context bounds the request.
	_ = rc.SetReadDeadline(time.Time{}) // a connection without deadlines is closed by Shutdown
	c.Request = req.WithContext(ctx)
	if sealedRoute(r.path) {
		return r.handler(c)
	}
	return s.WithEnd(func() { end(context.Canceled) }, func(core *keyserver.Core) error {
		c.core = core
		if err := s.authenticate(r.who, c); err != nil {
			return err
		}
		return r.handler(c)
	})
}

// authenticate makes the caller that the route asks for, or fails.
func (s *Server) authenticate(who credential, c *call) (err error) {
	switch who {
	case workload:
		c.caller, err = s.workload(c.core, c.Request)
	case admin, steward:
		c.caller, err = s.person(c.core, c.Request, c.data)
		if err == nil && who == admin && c.caller.Kind != authn.Admin {
			err = errors.New("this route is for admins")
		}
	}
	if errors.Is(err, authn.ErrBusy) {
		return fmt.Errorf("%w: %w", keyserver.ErrBusy, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", keyserver.ErrUnproved, err)
	}
	return nil
}

func readBody(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	if req.ContentLength > limit {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errTooSlow
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the request: %w", keyserver.ErrMalformed, err)
	}
	return data, nil
}

var errTooSlow = errors.New("the request took too long to come")

var errTooLarge = errors.New("the request is too large")

// person judges a signed request.
func (s *Server) person(core *keyserver.Core, req *http.Request, data []byte) (*authn.Caller, error) {
	signed, session, err := authn.ParseAuthorization(req.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	return s.admins.Verify(core.Members(), authn.RevokedFunc(func(string) bool { return false }), authn.AdminRequest{
		Signed: signed, Session: session, Method: req.Method, Target: req.RequestURI, Body: data,
	})
}

// provedBy is what a connection's certificate proved, kept for as long as trust
// anchors and revocation lists stay as they were and the certificate lasts: a
// chain is verified once per connection.
type provedBy struct {
	mu     sync.Mutex
	caller *authn.Caller
	by     authn.ChainVerifier
}

// connKey finds the provedBy of a request's connection in its context.
type connKey struct{}

func newConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, &provedBy{})
}

func (s *Server) workload(core *keyserver.Core, req *http.Request) (*authn.Caller, error) {
	if req.TLS == nil || len(req.TLS.PeerCertificates) == 0 {
		return nil, errors.New("this route needs a client certificate; enrol first")
	}
	trust, err := core.Trust()
	if err != nil {
		return nil, err
	}
	now := core.Now()
	p, ok := req.Context().Value(connKey{}).(*provedBy)
	if !ok {
		return trust.FromTLS(req.TLS, now)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.caller != nil && p.by == trust.Chains && now.Before(p.caller.NotAfter) {
		return p.caller, nil
	}
	p.caller, err = trust.FromTLS(req.TLS, now)
	p.by = trust.Chains
	return p.caller, err
}
