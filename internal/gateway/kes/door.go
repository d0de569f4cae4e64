// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/clientcert"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

const (
	maxBody    = 1 << 20
	maxContext = 64 << 10
	within     = 15 * time.Second
)

// door answers for one endpoint.
type door struct {
	site    gateway.Site
	started time.Time
}

func newDoor(s gateway.Site) (gateway.Door, error) {
	d := &door{site: s}
	if s.Clock != nil { // who only asks for the routes has none
		d.started = s.Clock.Now()
	}
	return d, nil
}

// handler is a route's handler for a client that has shown who it is.
type handler func(ctx context.Context, r *call) (*gateway.Response, error)

// call is one request of a known client.
type call struct {
	*gateway.Request
	caller *authn.Caller
	name   string // of the key, ours
}

// Routes are the API. Clients of KES write with PUT or POST.
func (d *door) Routes() []gateway.Route {
	const write = "PUT POST"
	return []gateway.Route{
		{Name: "version", Method: "GET", Path: "/version", Deadline: within, Handle: d.version},
		{Name: "ready", Method: "GET", Path: "/v1/ready", Deadline: within, Handle: d.ready},
		{Name: "status", Method: "GET", Path: "/v1/status", Deadline: within, Handle: d.known(d.status)},
		{Name: "api", Method: "GET", Path: "/v1/api", Deadline: within, Handle: d.known(d.api)},
		{Name: "identity", Method: "GET", Path: "/v1/identity/self/describe", Deadline: within, Handle: d.known(d.identity)},
		{Name: "list", Method: "GET", Path: "/v1/key/list/{pattern...}", Deadline: within, Handle: d.known(d.list)},
		{Name: "describe", Method: "GET", Path: "/v1/key/describe/{name}", Deadline: within, Handle: d.keyed(d.describe)},
		{Name: "create", Method: write, Path: "/v1/key/create/{name}", Deadline: within, Handle: d.keyed(d.create)},
		{Name: "import", Method: write, Path: "/v1/key/import/{name}", Limit: maxBody, Deadline: within, Handle: d.keyed(d.importKey)},
		{Name: "delete", Method: "DELETE", Path: "/v1/key/delete/{name}", Deadline: within, Handle: d.keyed(d.remove)},
		{Name: "generate", Method: write, Path: "/v1/key/generate/{name}", Limit: maxBody, Deadline: within, Handle: d.keyed(d.generate)},
		{Name: "encrypt", Method: write, Path: "/v1/key/encrypt/{name}", Limit: maxBody, Deadline: within, Handle: d.keyed(d.encrypt)},
		{Name: "decrypt", Method: write, Path: "/v1/key/decrypt/{name}", Limit: maxBody, Deadline: within, Handle: d.keyed(d.decrypt)},
		{Name: "hmac", Method: write, Path: "/v1/key/hmac/{name}", Limit: maxBody, Deadline: within, Handle: d.keyed(d.hmac)},
	}
}

// known makes a handler that knows its client.
func (d *door) known(h handler) func(context.Context, *gateway.Request) (*gateway.Response, error) {
	return func(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
		caller, err := clientcert.Caller(d.site.Endpoint.Name, name, r.TLS, d.site.Clock.Now())
		if err != nil {
			return nil, err
		}
		r.Note("identity", identityOf(caller))
		return h(ctx, &call{Request: r, caller: caller})
	}
}

// keyed makes a handler that knows its client and the key that the path names.
func (d *door) keyed(h handler) func(context.Context, *gateway.Request) (*gateway.Response, error) {
	return d.known(func(ctx context.Context, c *call) (*gateway.Response, error) {
		foreign := c.PathValue("name")
		if !validName(foreign) {
			return nil, failure{http.StatusBadRequest, "the key's name is empty, too long or has other characters than 0-9, A-Z, a-z, - and _"}
		}
		c.Note("key", foreign)
		c.name = d.site.KeyName(foreign)
		return h(ctx, c)
	})
}

// identityOf is the client's identity as KES writes it.
func identityOf(c *authn.Caller) string { return c.Key.String() }

// do asks the choke point, and gives an answer of the type that the Op has.
func do[A keyserver.Answer](ctx context.Context, d *door, c *call, op keyserver.Op) (A, error) {
	answer, err := d.site.Do(ctx, c.caller, op)
	if err != nil {
		var none A
		return none, err
	}
	a, ok := answer.(A)
	if !ok {
		return a, fmt.Errorf("%w: answered with another type", gateway.ErrInternal)
	}
	return a, nil
}

// reply is an answer in JSON; secret says that it holds plaintext.
func reply(v any, secret bool) (*gateway.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: an answer that has no JSON form", gateway.ErrInternal)
	}
	return &gateway.Response{Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Secret: secret}, nil
}

// maxName of keys in KES.
const maxName = 80

// validName reports whether KES takes a name: 1 to 80 of 0-9, A-Z, a-z, - and _, no
// - at the ends, not _ alone.
func validName(s string) bool {
	if s == "" || s == "_" || len(s) > maxName || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_") == ""
}
