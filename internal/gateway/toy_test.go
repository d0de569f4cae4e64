// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
)

// toy is a protocol that says back what it was asked, as whoever the certificate
// names.
type toy struct{ site gateway.Site }

const canary = "the panic's own value"

// Routes of the toy.
func (d toy) Routes() []gateway.Route {
	return []gateway.Route{
		{Name: "echo", Method: "POST", Path: "/echo/{what}", Limit: 4 << 10, Handle: d.echo},
		{Name: "where", Method: "GET", Path: "/where", Handle: d.where},
		{Name: "wait", Method: "GET", Path: "/wait", Deadline: 50 * time.Millisecond, Handle: func(ctx context.Context, _ *gateway.Request) (*gateway.Response, error) {
			<-ctx.Done()
			return nil, errors.New("what it waited for did not come")
		}},
		{Name: "own", Method: "GET", Path: "/own", Handle: func(context.Context, *gateway.Request) (*gateway.Response, error) {
			return nil, errors.New("the door's own words")
		}},
		{Name: "panic", Method: "GET", Path: "/panic", Handle: func(context.Context, *gateway.Request) (*gateway.Response, error) { panic(canary) }},
		{Name: "nothing", Method: "GET", Path: "/nothing", Handle: func(context.Context, *gateway.Request) (*gateway.Response, error) { return nil, nil }},
	}
}

func (d toy) echo(_ context.Context, r *gateway.Request) (*gateway.Response, error) {
	r.Note("what", r.PathValue("what"))
	return &gateway.Response{Body: []byte(r.PathValue("what") + " " + string(r.Body))}, nil
}

func (d toy) where(_ context.Context, r *gateway.Request) (*gateway.Response, error) {
	return &gateway.Response{Body: []byte(d.site.Endpoint.Name + " " + d.site.Base + " " + r.Base)}, nil
}

// Fail names the failure.
func (d toy) Fail(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, gateway.FailureOf(err).String(), http.StatusTeapot)
}

func toyKind() *gateway.Kind {
	return &gateway.Kind{
		Name: "toy", Options: []string{"folder"}, New: func(s gateway.Site) (gateway.Door, error) { return toy{s}, nil },
		Root: func(r *http.Request) (string, bool) { return r.Header.Get("X-Toy"), r.URL.Path == "/where" },
	}
}

// newToy serves a toy with the name door.
func newToy(t *testing.T, e authority.Endpoint) *gatewaytest.Rig {
	t.Helper()
	e.Name, e.Kind = "door", "toy"
	return gatewaytest.New(t, &gatewaytest.Suite{Kind: toyKind(), Endpoint: e})
}

// set makes or changes an endpoint.
func set(r *gatewaytest.Rig, e authority.Endpoint) {
	r.T.Helper()
	e.Kind = "toy"
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
}

// ask makes a request to a host's path at the port and shows what came of it.
func ask(r *gatewaytest.Rig, c *http.Client, host, path string, header ...string) string {
	r.T.Helper()
	req, err := http.NewRequestWithContext(r.T.Context(), http.MethodGet, "https://"+host+path, http.NoBody)
	if err != nil {
		r.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	reply, err := r.Send(c, req)
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%d %s", reply.Status, reply.Body)
}
