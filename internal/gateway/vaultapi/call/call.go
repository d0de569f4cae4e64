// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/strictjson"
)

// Op is what Vault calls an operation; a method of HTTP, or two, stands for each.
type Op int

// Operations.
const (
	Read   Op = iota // GET
	List             // LIST, or GET with list=true
	Write            // POST or PUT
	Patch            // PATCH
	Delete           // DELETE
)

// Limits of bodies that mounts share. A route may have its own.
const (
	SmallBody = 64 << 10 // bytes: names and settings
	LargeBody = 32 << 20 // bytes: what Vault itself takes
)

// Route is one operation of a mount.
type Route struct {
	Name     string // for logs, metrics and tests: a word of [a-z0-9-]
	Op       Op
	Path     string // below /v1, beginning with the mount: "/transit/keys/{name}"
	Limit    int64  // bytes of the body; 0: SmallBody for Write and Patch, else none
	Deadline time.Duration
	Open     bool // needs no token: Call has no Caller then
	Handle   func(context.Context, *Call) (*Reply, error)
}

// Call is one request.
type Call struct {
	*gateway.Request
	Caller *authn.Caller // nil on a Route that is Open
	Token  any           // what Authenticate says of the token besides
	Do     func(context.Context, keyserver.Op) (keyserver.Answer, error)
	Site   gateway.Site
}

// Decode reads the body into v. No body at all is an empty object, and so is null,
// which Vault's own library sends for nothing. Members that v
// doesn't have are skipped, as Vault does; twice the same one, another type, broken
// UTF-8 or deep nesting is refused.
func (c *Call) Decode(v any) error {
	if len(c.Body) == 0 || string(c.Body) == "null" || string(c.Body) == "null\n" {
		return nil
	}
	if err := strictjson.DecodeForeign(c.Body, v, true); err != nil {
		// The decoder's own words may quote what came.
		return Bad("failed to parse JSON input")
	}
	return nil
}

// Authenticate finds who calls by the token of a request; also says what else there
// is to know of the token. Its errors are authn's.
type Authenticate func(context.Context, *gateway.Request) (caller *authn.Caller, token any, err error)

// Mount makes the gateway's routes of a mount's.
func Mount(site gateway.Site, who Authenticate, routes []Route) []gateway.Route {
	m := mounter{site, who}
	paths := map[string][]Route{}
	var order []string
	for _, r := range routes {
		if paths[r.Path] == nil {
			order = append(order, r.Path)
		}
		paths[r.Path] = append(paths[r.Path], r)
	}
	var out []gateway.Route
	for _, p := range order {
		out = append(out, m.path(paths[p])...)
	}
	return out
}

type mounter struct {
	site gateway.Site
	who  Authenticate
}

// path makes the routes of one path: GET reads, or lists if it says so.
func (m mounter) path(routes []Route) []gateway.Route {
	var out []gateway.Route
	list := slices.IndexFunc(routes, func(r Route) bool { return r.Op == List })
	for _, r := range routes {
		methods, handle := "", m.run(r)
		switch r.Op {
		case Read:
			methods = http.MethodGet
			if list >= 0 {
				handle = either(m.run(routes[list]), handle)
			}
		case List:
			methods = "LIST"
			if !slices.ContainsFunc(routes, func(r Route) bool { return r.Op == Read }) {
				methods, handle = "LIST GET", either(handle, noList)
			}
		case Write:
			methods = "POST PUT"
		case Patch:
			methods = http.MethodPatch
		case Delete:
			methods = http.MethodDelete
		}
		limit := r.Limit
		if limit == 0 && (r.Op == Write || r.Op == Patch) {
			limit = SmallBody
		}
		to := gateway.Route{Name: r.Name, Method: methods, Path: "/v1" + r.Path, Limit: limit, Deadline: r.Deadline, Handle: handle}
		if !r.Open {
			to.First = func(ctx context.Context, r *gateway.Request) error {
				_, _, err := m.who(ctx, r)
				return err
			}
		}
		out = append(out, to)
	}
	return out
}

type handler = func(context.Context, *gateway.Request) (*gateway.Response, error)

// either lists what is to be listed.
func either(list, read handler) handler {
	return func(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
		if r.Method == "LIST" || r.URL.Query().Get("list") == "true" {
			return list(ctx, r)
		}
		return read(ctx, r)
	}
}

func noList(context.Context, *gateway.Request) (*gateway.Response, error) {
	return nil, gateway.ErrMethod
}

// run is a route's handler for the gateway.
func (m mounter) run(route Route) handler {
	return func(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
		c := &Call{Request: r, Site: m.site}
		// Security: whoever asks for a wrapped answer must not get a plain one.
		if r.Header.Get("X-Vault-Wrap-TTL") != "" {
			return nil, Bad("response wrapping is not supported")
		}
		if !route.Open {
			var err error
			if c.Caller, c.Token, err = m.who(ctx, r); err != nil {
				return nil, err
			}
			c.Do = func(ctx context.Context, op keyserver.Op) (keyserver.Answer, error) {
				return m.site.Do(ctx, c.Caller, op)
			}
			r.Note("subject", c.Caller.ID)
		}
		reply, err := route.Handle(ctx, c)
		if err != nil {
			return nil, err
		}
		return reply.Response()
	}
}

// TokenOf is the token that a request carries, "" for none or for several.
func TokenOf(r *http.Request) string {
	given := slices.Clone(r.Header.Values("X-Vault-Token"))
	for _, v := range r.Header.Values("Authorization") {
		if scheme, token, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
			given = append(given, strings.TrimSpace(token))
		}
	}
	if len(given) == 0 || len(given) > 1 && given[0] != given[1] || len(given) > 2 {
		return ""
	}
	return given[0]
}
