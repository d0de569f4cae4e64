// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/tokenbook"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// mounted is a door with what the gateway knows of it.
type mounted struct {
	server *Server
	kind   *Kind
	state  *authority.EndpointState // never changes; the next record makes another one
	site   Site
	door   Door
	mux    *http.ServeMux
	rate   *bucket
	others *strangers // who may have made their credentials themselves
}

// mount returns the door of an endpoint as its record is now.
func (s *Server) mount(e *authority.EndpointState) (*mounted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
	if m := s.doors[e.Name]; m != nil && (m.state == e || m.state.Set == e.Set && m.state.Disabled == e.Disabled) {
		return m, nil
	}
	kind, ok := s.o.Kinds.Named(e.Kind)
	if !ok {
		return nil, ErrNotFound
	}
	m, err := s.open(kind, e)
	if err != nil {
		delete(s.doors, e.Name)
		return nil, err
	}
	s.doors[e.Name] = m
	return m, nil
}

// open makes a door.
func (s *Server) open(kind *Kind, e *authority.EndpointState) (*mounted, error) {
	m := &mounted{server: s, kind: kind, state: e, mux: http.NewServeMux(), rate: newBucket(s.watch, e.Rate, kind.Rate)}
	m.others = newStrangers(s.watch, m.rate)
	logger := s.o.Logger.With("kind", kind.Name, "endpoint", e.Name)
	m.site = Site{
		Endpoint: e.Endpoint, Base: base(s.public, e.Name, e.Host), Clock: s.o.Clock, Logger: logger,
		Do: m.do, Material: s.material, Tokens: m.tokens, Health: s.health,
	}
	// A record that another version of this program let pass may not fit.
	err := s.o.Kinds.Check(&e.Endpoint)
	if err == nil {
		m.door, err = kind.New(m.site)
	}
	if err != nil {
		logger.Error("An endpoint can't be served", "error", err)
		return nil, fmt.Errorf("%w: %w", ErrInternal, err)
	}
	m.routes(m.door.Routes())
	return m, nil
}

// base is the public URL of an endpoint: at the root of its own host, under the
// origin's port, or below its name.
func base(public, name, host string) string {
	if host == "" {
		return public + "/" + name
	}
	if u, err := url.Parse(public); err == nil && u.Port() != "" {
		host += ":" + u.Port()
	}
	return "https://" + host
}

// routes makes the mux: by path alone, so that a wrong method is the door's to
// answer.
func (m *mounted) routes(routes []Route) {
	paths := map[string]map[string]*Route{}
	for i := range routes {
		r := &routes[i]
		if r.Deadline == 0 {
			r.Deadline = DefaultDeadline
		}
		if paths[r.Path] == nil {
			paths[r.Path] = map[string]*Route{}
		}
		for _, method := range strings.Fields(r.Method) {
			paths[r.Path][method] = r
		}
	}
	for at, methods := range paths {
		m.mux.HandleFunc(at, func(w http.ResponseWriter, r *http.Request) {
			route := methods[r.Method]
			if route == nil && r.Method == http.MethodHead {
				route = methods[http.MethodGet]
			}
			m.answer(w.(*exchange), r, route, ErrMethod)
		})
	}
	if paths["/{rest...}"] == nil {
		m.mux.HandleFunc("/{rest...}", func(w http.ResponseWriter, r *http.Request) {
			m.answer(w.(*exchange), r, nil, ErrNotFound)
		})
	}
}

// belowKey finds in a request's context what stood before the door's own path, and
// exchangeKey the *exchange.
type (
	belowKey    struct{}
	exchangeKey struct{}
)

// serve hands a request to the route that it is for.
func (m *mounted) serve(e *exchange, r *http.Request, below string) {
	inner := r.WithContext(context.WithValue(context.WithValue(r.Context(), belowKey{}, below), exchangeKey{}, e))
	u := *r.URL
	u.Path = strings.TrimPrefix(u.Path, below)
	u.RawPath = strings.TrimPrefix(u.RawPath, below)
	if u.Path == "" {
		u.Path, u.RawPath = "/", ""
	}
	inner.URL = &u
	m.mux.ServeHTTP(e, inner)
}

// answer runs a route, or fails with missing where there is none.
func (m *mounted) answer(e *exchange, r *http.Request, route *Route, missing error) {
	err := missing
	if route != nil {
		e.route = route.Name
		err = m.run(e, r, route)
	}
	if err == nil {
		return
	}
	e.err = err
	if e.status != 0 {
		panic(http.ErrAbortHandler) // half an answer is cut, never completed
	}
	switch FailureOf(err) {
	case TooLarge, TooSlow:
		e.Header().Set("Connection", "close") // what follows of the body isn't read
	case TooMany, Busy:
		e.Header().Set("Retry-After", "1")
	}
	m.door.Fail(e, r, err)
}

// errorGrace is how long an answer may take to leave.
const errorGrace = 10 * time.Second

// run bounds a request, reads its body and answers it.
func (m *mounted) run(e *exchange, r *http.Request, route *Route) (err error) {
	s := m.server
	if e.sealed {
		return keyserver.ErrSealed
	}
	if !m.state.Serves() {
		return ErrOff
	}
	rc := http.NewResponseController(e)
	ends := s.o.deadline(route.Deadline)
	_ = rc.SetReadDeadline(ends)                  // a test's recorder has none
	_ = rc.SetWriteDeadline(ends.Add(errorGrace)) // whoever reads nothing holds nothing up
	if err := m.clientCertificate(r); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadlineCause(r.Context(), ends, ErrTimeout)
	defer cancel()
	below, _ := r.Context().Value(belowKey{}).(string)
	req := &Request{Request: r.WithContext(ctx), Base: "https://" + r.Host + below}
	// Security: a stranger's large body gets no room (T-90).
	if route.First != nil && (r.ContentLength < 0 || r.ContentLength > large) {
		if err := route.First(ctx, req); err != nil {
			return err
		}
	}
	body, free, err := s.bodies.read(r, route.Limit)
	defer free()
	e.in = len(body)
	if err != nil {
		return err
	}
	_ = rc.SetReadDeadline(time.Time{}) // or net/http's look ahead would end the connection
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	default:
		return fmt.Errorf("%w: too many requests at once", keyserver.ErrBusy)
	}
	req.Body = body
	answer, err := m.handle(ctx, route, req)
	e.notes = req.notes
	if err != nil {
		return err
	}
	if answer.Secret {
		defer secret.Wipe(answer.Body)
	}
	e.send(answer)
	return nil
}

// handle runs a handler; one that panics has an internal error.
func (m *mounted) handle(ctx context.Context, route *Route, r *Request) (answer *Response, err error) {
	defer func() {
		if why := recover(); why != nil {
			// Not the value: it may hold anything.
			m.site.Logger.Error("A door panicked", "operation", route.Name, "type", fmt.Sprintf("%T", why), "stack", string(debug.Stack()))
			answer, err = nil, fmt.Errorf("%w: panic", ErrInternal)
		}
	}()
	answer, err = route.Handle(ctx, r)
	switch {
	case err == nil && answer == nil:
		return nil, fmt.Errorf("%w: no answer", ErrInternal)
	case err != nil && ctx.Err() != nil && FailureOf(err) != TooSlow:
		return nil, errors.Join(ErrTimeout, err)
	}
	return answer, err
}

// do is the way of a door to the choke point. The endpoint's rate is counted here,
// where the caller is proved: or strangers could use it up.
func (m *mounted) do(ctx context.Context, caller *authn.Caller, op keyserver.Op) (answer keyserver.Answer, err error) {
	if !caller.Proved() {
		return nil, keyserver.ErrUnproved
	}
	stranger := m.stranger(caller)
	rate := m.rate
	if stranger {
		rate = m.others.rate
	} else if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		e.known.Store(true)
	}
	if !rate.take(weight(op)) {
		return nil, ErrRate
	}
	err = m.server.o.Keys.With(ctx, func(ctx context.Context, c *keyserver.Core) (err error) {
		answer, err = c.Do(ctx, caller, op)
		return err
	})
	if stranger && err == nil {
		m.others.permitted(caller, op)
	}
	return answer, err
}

// weight is how many requests an Op counts for.
func weight(op keyserver.Op) int {
	switch op := op.(type) {
	case *keyserver.UseAll:
		return max(1, len(op.Uses))
	case *keyserver.List: // it looks at every key
		return listWeight
	}
	return 1
}

const listWeight = 10

// stranger reports whether anybody could be this caller: one without a credential,
// or with a certificate where any will do and to whom nothing was permitted yet.
func (m *mounted) stranger(c *authn.Caller) bool {
	if c.Key.IsZero() {
		return true
	}
	return m.kind.NeedsClientCert && len(m.state.ClientCAs) == 0 && !m.others.knows(c)
}

func (m *mounted) tokens(ctx context.Context) (out *tokenbook.Page, err error) {
	err = m.server.o.Keys.With(ctx, func(ctx context.Context, c *keyserver.Core) (err error) {
		out, err = c.Tokens(ctx, m.state.Name)
		return err
	})
	return out, err
}

func (s *Server) material(ctx context.Context, hash wire.Hash) (out *secret.Bytes, err error) {
	err = s.o.Keys.With(ctx, func(ctx context.Context, c *keyserver.Core) (err error) {
		out, err = c.Material(ctx, hash)
		return err
	})
	return out, err
}

// health is whether a request would be answered now: unsealed, caught up, and the
// audit log written.
func (s *Server) health(ctx context.Context) error {
	return s.o.Keys.With(ctx, func(_ context.Context, c *keyserver.Core) error { return c.Usable() })
}
