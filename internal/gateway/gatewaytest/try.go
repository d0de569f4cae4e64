// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/keyserver/api"
	"claviger/internal/wire"
)

// each runs f for each case, with the rig failing that test.
func (r *Rig) each(t *testing.T, f func(t *testing.T, c *Case)) {
	t.Helper()
	for i := range r.Suite.Cases {
		c := &r.Suite.Cases[i]
		t.Run(c.Route, func(t *testing.T) {
			outer := r.T
			r.T = t
			defer func() { r.T = outer }()
			f(t, c)
		})
	}
}

// works expects a valid request to work.
func (r *Rig) works(c *Case) {
	r.T.Helper()
	if err := c.want(r.Call(c, c.Make(r))); err != nil {
		r.T.Errorf("a valid request: %v", err)
	}
	if c.After != nil {
		c.After(r)
	}
}

// fails expects a request to fail in the protocol's way.
func (r *Rig) fails(c *Case, what string, req Request, want gateway.Failure) {
	r.T.Helper()
	if err := c.expect(r.Suite, want)(r.Call(c, req)); err != nil {
		r.T.Errorf("%s: %v", what, err)
	}
}

// allowed serves the suite with its policy.
func allowed(t *testing.T, s *Suite) *Rig {
	t.Helper()
	r := New(t, s)
	r.Allow(s.Policy)
	return r
}

// tryValid tries what works, that each route has a case, and that strangers are
// told so.
func tryValid(t *testing.T, s *Suite) {
	r := allowed(t, s)
	door, err := s.Kind.New(gateway.Site{Endpoint: r.Endpoint, Base: r.Base()})
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range door.Routes() {
		if !slices.ContainsFunc(s.Cases, func(c Case) bool { return c.Route == route.Name }) {
			t.Errorf("route %s has no case", route.Name)
		}
	}
	r.each(t, func(t *testing.T, c *Case) {
		before := r.leaves()
		r.works(c)
		if c.Open || c.Unlogged {
			return
		}
		if more := r.leaves()[len(before):]; !slices.ContainsFunc(more, func(l api.LeafInfo) bool {
			return l.Decision == wire.DecisionAllowed && strings.HasPrefix(l.Caller, r.Endpoint.Name+":")
		}) {
			t.Errorf("no leaf of the endpoint's says that it was allowed: %+v", more)
		}
		r.stranger(c)
	})
	r.each(t, func(t *testing.T, c *Case) { r.paths(c) })
}

// stranger makes the same request without a credential.
func (r *Rig) stranger(c *Case) {
	r.T.Helper()
	if r.Suite.Call != nil {
		return
	}
	valid := c.Make(r)
	req := r.NewRequest(valid, strings.NewReader(string(valid.Body)))
	if r.Suite.Strip != nil {
		r.Suite.Strip(req)
	} else {
		req.Header.Del("Authorization")
	}
	reply, err := r.Send(r.Client(nil), req)
	if err != nil {
		r.T.Logf("a stranger's handshake ends: %v", err)
		return
	}
	if err := c.expect(r.Suite, gateway.Unauthenticated)(r.seen(reply)); err != nil {
		r.T.Errorf("without a credential: %v", err)
	}
}

// paths tries other methods, paths and content types.
func (r *Rig) paths(c *Case) {
	r.T.Helper()
	if r.Suite.Call != nil {
		return
	}
	valid := c.Make(r)
	other := valid
	other.Method = "PATCH"
	r.fails(c, "another method", other, gateway.NoMethod)
	other = valid
	other.Path += "/no/such/path"
	if reply := r.Call(c, other); reply.Status < 400 && !c.Deep {
		r.T.Errorf("a longer path: %d %.100s", reply.Status, reply.Body)
	}
	other.Path = "/no-such-path-at-all/x/y/z"
	r.fails(c, "another path", other, gateway.NoRoute)
	other.Path = "/." + valid.Path
	if reply := r.Call(c, other); reply.Status < 400 {
		r.T.Errorf("a path with a dot: %d %.100s", reply.Status, reply.Body)
	}
	if len(valid.Body) > 0 && r.Suite.Wrong[gateway.MediaType] != nil {
		other = valid
		other.Header = http.Header{"Content-Type": {"text/html"}}
		for name, values := range valid.Header {
			if name != "Content-Type" {
				other.Header[name] = values
			}
		}
		r.fails(c, "another content type", other, gateway.MediaType)
	}
}

// tryDenied tries everything without a policy: denied, and audited.
func tryDenied(t *testing.T, s *Suite) {
	r := New(t, s)
	r.Allow("forbid(principal, action, resource);")
	r.each(t, func(t *testing.T, c *Case) {
		if c.Open || c.Unlogged {
			r.works(c)
			return
		}
		before := r.leaves()
		reply := r.Call(c, c.Make(r))
		if err := c.expect(s, gateway.Denied)(reply); err != nil {
			t.Errorf("without a policy: %v", err)
		}
		if reply.Status < 300 || c.Lists {
			return // a list of nothing
		}
		if more := r.leaves()[len(before):]; !slices.ContainsFunc(more, func(l api.LeafInfo) bool {
			return l.Decision == wire.DecisionDenied && strings.HasPrefix(l.Caller, r.Endpoint.Name+":")
		}) {
			t.Errorf("no leaf of the endpoint's says that it was denied: %+v", more)
		}
	})
}

// trySwitched tries with keys that are disabled, and an endpoint that is, and one
// that is gone.
func trySwitched(t *testing.T, s *Suite) {
	r := allowed(t, s)
	r.each(t, func(t *testing.T, c *Case) {
		for _, name := range c.Keys {
			id := r.KeyOf(name).ID
			r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
			r.fails(c, name+" is disabled", c.Make(r), gateway.KeyOff)
			r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
			r.works(c)
		}
	})
	r.bounded(t)
	r.Propose(authority.KindEndpointDisable, authority.EndpointDisable{Name: r.Endpoint.Name})
	r.each(t, func(t *testing.T, c *Case) { r.fails(c, "the endpoint is disabled", c.Make(r), gateway.EndpointOff) })
	r.Propose(authority.KindEndpointEnable, authority.EndpointRef{Name: r.Endpoint.Name})
	r.each(t, func(t *testing.T, c *Case) { r.works(c) })
	var before []Request
	r.each(t, func(_ *testing.T, c *Case) { before = append(before, c.Make(r)) })
	r.Propose(authority.KindEndpointRemove, authority.EndpointRef{Name: r.Endpoint.Name})
	r.each(t, func(t *testing.T, c *Case) {
		if s.Call != nil {
			return
		}
		valid := before[0]
		before = before[1:]
		reply, err := r.Send(r.client, r.NewRequest(valid, bytes.NewReader(valid.Body)))
		if err != nil {
			t.Logf("no certificate names its host any more: %v", err)
			return
		}
		if reply.Status != http.StatusNotFound || strings.TrimSpace(string(reply.Body)) != "not found" {
			t.Errorf("the endpoint is removed: %d %.100s", reply.Status, reply.Body)
		}
	})
}

// bounded tries with the subjects revoked that the requests come from, and with an
// endpoint that may touch another key alone.
func (r *Rig) bounded(t *testing.T) {
	t.Helper()
	subjects := map[string]bool{}
	for _, l := range r.leaves() {
		if strings.HasPrefix(l.Caller, r.Endpoint.Name+":") {
			subjects[l.Caller] = true
		}
	}
	revoked := gateway.Revoked
	if r.Suite.Wrong[revoked] == nil {
		revoked = gateway.Denied
	}
	for subject := range subjects {
		r.Propose(authority.KindClientRevoke, authority.Subject{Client: subject})
	}
	r.each(t, func(_ *testing.T, c *Case) {
		if !c.Open && !c.Unlogged {
			r.fails(c, "the subject is revoked", c.Make(r), revoked)
		}
	})
	for subject := range subjects {
		r.Propose(authority.KindClientEnable, authority.Subject{Client: subject})
	}
	narrow := r.Endpoint
	narrow.Keys = []string{"another/key"}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: narrow})
	r.each(t, func(_ *testing.T, c *Case) {
		if len(c.Keys) > 0 {
			r.fails(c, "the endpoint may touch another key alone", c.Make(r), gateway.Denied)
		}
	})
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: r.Endpoint})
}

// trySealed tries while the server is sealed, and after.
func trySealed(t *testing.T, s *Suite) {
	r := allowed(t, s)
	var valid []Request
	r.each(t, func(_ *testing.T, c *Case) { valid = append(valid, c.Make(r)) })
	r.each(t, func(_ *testing.T, c *Case) { r.works(c) })
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range s.Cases {
		t.Run(s.Cases[i].Route, func(*testing.T) { r.fails(&s.Cases[i], "sealed", valid[i], gateway.Sealed) })
	}
	if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
		t.Fatal(err)
	}
	r.Introduce()
	r.each(t, func(_ *testing.T, c *Case) { r.works(c) })
}

// tryUnwritable tries with an audit log that can't be written: nothing that would
// leave a leaf is answered. Once that has failed the server stays so, so the first
// request that finds out comes from each route in turn.
func tryUnwritable(t *testing.T, s *Suite) {
	for i := range s.Cases {
		c := &s.Cases[i]
		if c.Open || c.Unlogged {
			continue
		}
		t.Run(c.Route, func(t *testing.T) {
			r := allowed(t, s)
			req, again := c.Make(r), c.Make(r)
			r.disk.full.Store(true)
			r.fails(c, "the audit log can't be written", req, gateway.Unavailable)
			r.fails(c, "nor again", again, gateway.Unavailable)
		})
	}
}

// leaves reads the whole audit log.
func (r *Rig) leaves() []api.LeafInfo {
	r.T.Helper()
	status, body := r.AsAdmin("GET", "/v1/admin/audit?n=1000", nil)
	var out struct{ Leaves []api.LeafInfo }
	if err := json.Unmarshal(body, &out); err != nil || status != 200 {
		r.T.Fatalf("audit: %d %s", status, body)
	}
	return out.Leaves
}
