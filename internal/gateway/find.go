// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// place is where a request arrives.
type place struct {
	*mounted
	below  string // what of the path stands before the door's own: "" or /NAME
	sealed bool   // the server: the door says so, and nothing else
}

// find looks a request's endpoint up in the present state. It fails with
// ErrNotFound, or with why there is no state.
func (s *Server) find(r *http.Request) (*place, error) {
	// Security: two spellings of one path could name one door here and another to
	// whoever guards the port.
	if p := r.URL.Path; p == "" || p[0] != '/' || path.Clean(p) != strings.TrimSuffix(p, "/") && p != "/" {
		return nil, ErrNotFound
	}
	var at *place
	err := s.o.Keys.With(r.Context(), func(_ context.Context, c *keyserver.Core) (err error) {
		var e *authority.EndpointState
		var below string
		var fresh *index
		c.View(func(st *authority.State) {
			known := s.index.Load()
			if known == nil || known.epoch != st.Epoch {
				known = indexOf(st)
				known.public = s.publicHost()
				fresh = known
			}
			e, below = s.locate(st, known, r)
		})
		s.drop(fresh)
		if e == nil {
			return ErrNotFound
		}
		m, err := s.mount(e)
		at = &place{mounted: m, below: below}
		return err
	})
	if errors.Is(err, keyserver.ErrSealed) {
		return s.findSealed(r)
	}
	if err != nil {
		return nil, err
	}
	return at, nil
}

// index is what the endpoints of one state are found by.
type index struct {
	epoch wire.Epoch
	// public is the host under which all endpoints are met, each below its name.
	public string
	hosts  map[string]string     // names, by host
	only   map[string]string     // names, by kind; "" where there are several
	live   map[string]wire.Epoch // records, by name
}

func indexOf(st *authority.State) *index {
	x := &index{epoch: st.Epoch, hosts: map[string]string{}, only: map[string]string{}, live: map[string]wire.Epoch{}}
	for e := range st.Endpoints() {
		if e.Removed {
			continue
		}
		x.live[e.Name] = e.Set
		if _, several := x.only[e.Kind]; several {
			x.only[e.Kind] = ""
		} else {
			x.only[e.Kind] = e.Name
		}
		if e.Host != "" {
			x.hosts[e.Host] = e.Name
		}
	}
	return x
}

// drop takes a new index and forgets the doors whose records are no longer, and
// what they keep, whether or not somebody asks for them again.
func (s *Server) drop(fresh *index) {
	if fresh == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.Store(fresh)
	for name, m := range s.doors {
		if set, ok := fresh.live[name]; !ok || set != m.state.Set {
			delete(s.doors, name)
		}
	}
}

// locate says which endpoint a request is for, nil for none, and what of the path
// named it.
func (s *Server) locate(st *authority.State, x *index, r *http.Request) (e *authority.EndpointState, below string) {
	host, name := hostname(r.Host), first(r)
	// Security: who makes an endpoint under the public host takes nothing from those
	// that are met there already (T-87).
	others := host == x.public && present(st.Endpoint(name)) != nil
	if name, ok := x.hosts[host]; ok && !others {
		return st.Endpoint(name), ""
	}
	if e = st.Endpoint(name); e != nil {
		return present(e), "/" + name
	}
	for _, kind := range s.o.Kinds {
		if kind.Root == nil {
			continue
		}
		if name, mine := kind.Root(r); mine {
			if name == "" {
				name = x.only[kind.Name]
			}
			if e = present(st.Endpoint(name)); e == nil || e.Kind != kind.Name {
				return nil, ""
			}
			return e, ""
		}
	}
	return nil, ""
}

// first is the path's first part as it was sent: an escaped slash parts nothing.
func first(r *http.Request) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	return name
}

func present(e *authority.EndpointState) *authority.EndpointState {
	if e == nil || e.Removed {
		return nil
	}
	return e
}

// findSealed finds a door that was open before the server was sealed, to say so in
// its protocol. It handles nothing.
func (s *Server) findSealed(r *http.Request) (*place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		// What the doors remember, credentials before all, goes with the root.
		s.closed = true
		for name, m := range s.doors {
			if again, err := s.open(m.kind, m.state); err == nil {
				s.doors[name] = again
			} else {
				delete(s.doors, name)
			}
		}
	}
	host := hostname(r.Host)
	name := first(r)
	if m := s.doors[name]; m != nil {
		return &place{m, "/" + name, true}, nil
	}
	for _, m := range s.doors {
		if host != "" && m.state.Host == host {
			return &place{m, "", true}, nil
		}
		if m.kind.Root != nil {
			if name, mine := m.kind.Root(r); mine && (name == "" || name == m.state.Name) {
				return &place{m, "", true}, nil
			}
		}
	}
	return nil, keyserver.ErrSealed
}

// publicHost is the host of the public origin, "" for none.
func (s *Server) publicHost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := url.Parse(s.public)
	if err != nil {
		return ""
	}
	return hostname(u.Host)
}

// hostname is the name in a Host header as records have it.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
