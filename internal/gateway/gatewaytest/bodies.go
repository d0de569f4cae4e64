// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
)

// tryBodies tries malformed and oversized bodies.
func tryBodies(t *testing.T, s *Suite) {
	r := allowed(t, s)
	routes := routesOf(t, r)
	r.each(t, func(t *testing.T, c *Case) {
		valid, route := c.Make(r), routes[c.Route]
		if len(valid.Body) > 0 {
			for _, bad := range BadJSON(valid.Body, c.Free...) {
				if c.Bodyless && (len(bad.Body) == 0 || string(bad.Body) == "null") {
					continue
				}
				req := valid
				req.Body = bad.Body
				if req.Header.Get("Content-Type") == "" {
					req.Header = req.Header.Clone()
					if req.Header == nil {
						req.Header = http.Header{}
					}
					req.Header.Set("Content-Type", "application/json")
				}
				want := gateway.Malformed
				if int64(len(bad.Body)) > route.Limit {
					want = gateway.TooLarge
				}
				r.fails(c, bad.Name, req, want)
			}
		}
		r.oversized(c, valid, route)
	})
}

func routesOf(t *testing.T, r *Rig) map[string]gateway.Route {
	t.Helper()
	door, err := r.Suite.Kind.New(gateway.Site{Endpoint: r.Endpoint, Base: r.Base()})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]gateway.Route{}
	for _, route := range door.Routes() {
		out[route.Name] = route
	}
	return out
}

// spaces is a body without end.
type spaces struct{}

// Read fills p.
func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// oversized sends more than the route takes: as it is said, and as it comes. The
// server takes no more memory for it than for what it takes.
func (r *Rig) oversized(c *Case, valid Request, route gateway.Route) {
	r.T.Helper()
	if r.Suite.Call != nil || valid.Method == http.MethodGet {
		return
	}
	more := valid
	more.Body = append(bytes.Clone(valid.Body), bytes.Repeat([]byte(" "), int(route.Limit)+1-len(valid.Body))...)
	r.fails(c, "one byte too many", more, gateway.TooLarge)

	for name, said := range map[string]int64{"as it is said": 1 << 40, "as it comes": -1} {
		req := r.NewRequest(valid, io.MultiReader(bytes.NewReader(valid.Body), io.LimitReader(spaces{}, 64<<20)))
		req.ContentLength = said
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, err := r.raw(req)
		runtime.ReadMemStats(&after)
		if err != nil {
			r.T.Errorf("endless, %s: %v", name, err)
			continue
		}
		if e := c.expect(r.Suite, gateway.TooLarge)(status); e != nil {
			r.T.Errorf("endless, %s: %v", name, e)
		}
		if took := int64(after.TotalAlloc - before.TotalAlloc); took > 6*route.Limit+4<<20 {
			r.T.Errorf("endless, %s: %d bytes of memory for a body of at most %d", name, took, route.Limit)
		}
	}
}

// raw writes a request over a connection of its own until an answer comes.
func (r *Rig) raw(req *http.Request) (Reply, error) {
	conn, err := r.dial()
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	go func() { _ = req.Write(conn) }() // it ends when the connection does
	return r.answer(conn, req)
}

func (r *Rig) answer(conn net.Conn, req *http.Request) (Reply, error) {
	if err := conn.SetReadDeadline(clock.System().Now().Add(time.Minute)); err != nil {
		return Reply{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return Reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return r.seen(Reply{resp.StatusCode, resp.Header, body}), err
}

func (r *Rig) dial() (*tls.Conn, error) {
	config := &tls.Config{RootCAs: r.Roots, ServerName: "localhost"}
	if r.Endpoint.Host != "" {
		config.ServerName = r.Endpoint.Host
	}
	if r.cert != nil {
		config.Certificates = []tls.Certificate{*r.cert}
	}
	return tls.Dial("tcp", r.Doors, config)
}

// hasty is a kind whose routes have little time.
func hasty(kind *gateway.Kind) *gateway.Kind {
	k := *kind
	k.New = func(s gateway.Site) (gateway.Door, error) {
		d, err := kind.New(s)
		return hastyDoor{d}, err
	}
	return &k
}

type hastyDoor struct{ gateway.Door }

// Routes are the door's, with half a second each.
func (d hastyDoor) Routes() []gateway.Route {
	routes := d.Door.Routes()
	for i := range routes {
		routes[i].Deadline = 500 * time.Millisecond
	}
	return routes
}

// trySlow sends half a body and waits.
func trySlow(t *testing.T, s *Suite) {
	if s.Call != nil {
		return
	}
	r := newRig(t, s, hasty(s.Kind))
	r.Allow(s.Policy)
	r.each(t, func(t *testing.T, c *Case) {
		valid := c.Make(r)
		if len(valid.Body) < 2 {
			return
		}
		req := r.NewRequest(valid, bytes.NewReader(valid.Body))
		var whole bytes.Buffer
		if err := req.Write(&whole); err != nil {
			t.Fatal(err)
		}
		conn, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(whole.Bytes()[:whole.Len()-len(valid.Body)/2]); err != nil {
			t.Fatal(err)
		}
		reply, err := r.answer(conn, req)
		if err == nil {
			err = c.expect(s, gateway.TooSlow)(reply)
		}
		if err != nil {
			t.Errorf("half a body: %v", err)
		}
	})
}

// tryCrowded tries more requests than the endpoint takes.
func tryCrowded(t *testing.T, s *Suite) {
	few := *s
	few.Endpoint.Rate = 1
	r := allowed(t, &few)
	r.each(t, func(t *testing.T, c *Case) {
		if c.Open || c.Unlogged || s.Call != nil {
			return
		}
		var last error
		for range 20 { // the bucket fills up meanwhile
			reply := r.Call(c, c.Make(r))
			if last = c.expect(s, gateway.TooMany)(reply); last == nil {
				return
			}
		}
		t.Errorf("20 requests at once at a rate of one a second: %v", last)
	})
}

// FuzzBodies hands any body to every route that takes one: none may panic, and none
// may fail as the server's own fault.
func FuzzBodies(f *testing.F, s Suite) {
	s.name()
	s.Endpoint.Rate = 1_000_000
	r := New(f, &s)
	r.Allow(s.everything())
	for i := range s.Cases {
		valid := s.Cases[i].Make(r)
		if len(valid.Body) == 0 {
			continue
		}
		f.Add(i, string(valid.Body))
		for _, bad := range BadJSON(valid.Body)[:12] {
			if len(bad.Body) < 4096 {
				f.Add(i, string(bad.Body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		r.T = t
		c := &s.Cases[uint(i)%uint(len(s.Cases))]
		req := c.Make(r)
		if len(req.Body) == 0 {
			return
		}
		req.Body = []byte(body)
		if reply := r.Call(c, req); reply.Status >= 500 && reply.Status != http.StatusNotImplemented {
			t.Errorf("%s %q: %d %s", c.Route, body, reply.Status, reply.Body)
		}
	})
}

// Tag is an option of an endpoint's record.
func Tag(name, value string) authority.Tag { return authority.Tag{Name: name, Value: value} }
