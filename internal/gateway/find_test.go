// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"claviger/internal/authority"
)

// TestWhichEndpoint: by host, by the path's first part, by the kind's own way; and
// nothing tells what else there is.
func TestWhichEndpoint(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	c := r.Client(nil)
	_, port, _ := net.SplitHostPort(r.Doors)
	at := "localhost:" + port
	const none = "404 not found\n"
	if got := ask(r, c, at, "/where"); !strings.HasPrefix(got, "200 door ") {
		t.Errorf("the only one of its kind: %s", got)
	}
	set(r, authority.Endpoint{Name: "other", Host: "other.example.com"})
	for _, x := range []struct {
		host, path, header, want string
	}{
		{at, "/door/where", "", "200 door https://" + r.Doors + "/door https://" + at + "/door"},
		{at, "/other/where", "", "200 other https://other.example.com:" + port + " https://" + at + "/other"},
		{"other.example.com:" + port, "/where", "", "200 other https://other.example.com:" + port + " https://other.example.com:" + port},
		{"other.example.com:" + port, "/where", "door", "200 other https://other.example.com:" + port + " https://other.example.com:" + port},
		{"other.example.com:" + port, "/door/where", "", "418 no-route\n"},
		{at, "/where", "door", "200 door https://" + r.Doors + "/door https://" + at},
		{at, "/where", "third", none},
		{at, "/where", "", none}, // there are two
		{at, "/third/where", "", none},
		{at, "/", "", none},
		{at, "/door", "", "418 no-route\n"},
		{at, "/door/", "", "418 no-route\n"},
		{at, "/door/nothing/else", "", "418 no-route\n"},
		{at, "//door/where", "", none},
		{at, "/x/../door/where", "", none},
		{at, "/door/./where", "", none},
		{at, "/DOOR/where", "", none},
		{at, "/door%2Fwhere", "", none},
	} {
		if got := ask(r, c, x.host, x.path, "X-Toy", x.header); got != x.want {
			t.Errorf("%s%s %s: %q, want %q", x.host, x.path, x.header, got, x.want)
		}
	}
	// A record counts from the next request on.
	r.Propose(authority.KindEndpointRemove, authority.EndpointRef{Name: "other"})
	ask(r, c, at, "/door/where") // whoever comes next
	if kept := r.Gateway.Doors(); len(kept) != 1 || kept[0] != "door" {
		t.Errorf("doors are kept of %v", kept)
	}
	if got := ask(r, c, at, "/other/where"); got != none {
		t.Errorf("a removed one: %s", got)
	}
	set(r, authority.Endpoint{Name: "door", Host: "door.example.com"})
	if got := ask(r, c, "door.example.com:"+port, "/where"); !strings.HasPrefix(got, "200 door https://door.example.com:") {
		t.Errorf("with a new host: %s", got)
	}
}

// TestPublicHost: an endpoint whose host is the public one takes the root and nothing
// of the others, whose clients need no certificate of its own.
func TestPublicHost(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	_, port, _ := net.SplitHostPort(r.Doors)
	at := "keys.example.com:" + port
	r.Gateway.SetPublic("https://" + at)
	set(r, authority.Endpoint{Name: "taker", Host: "keys.example.com"})
	for path, want := range map[string]string{"/door/where": "200 door ", "/taker/where": "200 taker ", "/where": "200 taker ", "/third/where": "418 no-route"} {
		if got := ask(r, r.Client(nil), at, path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
	}
	ca := newCA(t)
	set(r, authority.Endpoint{Name: "taker", Host: "keys.example.com", ClientCAs: [][]byte{ca.cert.Raw}})
	for path, want := range map[string]string{"/door/where": "200 door ", "/taker/where": "418 unauthenticated", "/where": "418 unauthenticated"} {
		if got := ask(r, r.Client(nil), at, path); !strings.HasPrefix(got, want) {
			t.Errorf("with client certificates: %s: %q, want %s", path, got, want)
		}
	}
	if got := ask(r, r.Client(ca.client("app", x509.ExtKeyUsageClientAuth)), at, "/where"); !strings.HasPrefix(got, "200 taker ") {
		t.Errorf("with one: %q", got)
	}
}

// TestPing: load balancers see whether doors can answer, whatever the host.
func TestPing(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	c := r.Client(nil)
	if got := ask(r, c, "localhost", "/ping"); got != "200 pong\n" {
		t.Error(got)
	}
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(r, c, "localhost", "/ping"); got != "503 unavailable\n" {
		t.Errorf("sealed: %s", got)
	}
	// Nobody has been at this door since the start: while the server is sealed it
	// knows none.
	if got := ask(r, c, "localhost", "/door/where"); got != "503 unavailable\n" {
		t.Errorf("sealed: %s", got)
	}
}

// TestPanic: a door that fails in its own way says nothing of it, and the port goes
// on.
func TestPanic(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	r.Hide([]byte("the panic's own value"))
	c := r.Client(nil)
	for _, path := range []string{"/door/panic", "/door/nothing"} {
		if got := ask(r, c, "localhost", path); got != "418 internal\n" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := ask(r, c, "localhost", "/door/wait"); got != "418 too-slow\n" {
		t.Errorf("a handler that waits: %s", got)
	}
	if got := ask(r, c, "localhost", "/door/where"); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
}
