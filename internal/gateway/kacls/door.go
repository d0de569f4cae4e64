// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/oidc"
	"claviger/internal/authority"
	"claviger/internal/gateway"
)

const (
	deadline = 5 * time.Second  // Google advises 200 ms; a key set may have to be fetched
	patience = 10 * time.Second // where another service is asked
	maxBody  = 64 << 10         // two tokens, a private key
)

// door serves one endpoint.
type door struct {
	site       gateway.Site
	url        string // own, as Google knows it
	key        string // the wrapping key
	signing    string // the signing key, "" for none
	guests     bool
	origins    []string
	perimeters []string
	privileged []string
	peers      []string // URLs of other services

	users  *oidc.Verifier // of what Google and identity providers sign
	others *oidc.Verifier // of what other services sign
	client *http.Client   // to other services
}

// newDoor makes the door of an endpoint.
func newDoor(site gateway.Site) (gateway.Door, error) {
	d := &door{
		site: site, url: ownURL(site), key: site.Option(optionKey), signing: site.Option(optionSigning),
		guests: site.Option(optionGuests) == "yes", origins: append(list(site.Option(optionOrigins)), pageOrigin),
		perimeters: list(site.Option(optionPerimeters)), privileged: list(site.Option(optionPrivileged)),
	}
	roots, err := peerRoots(&site.Endpoint)
	if err != nil {
		return nil, err
	}
	users := oidc.Options{Clock: site.Clock, Logger: site.Logger}
	others := oidc.Options{Clock: site.Clock, Logger: site.Logger, Roots: roots}
	issuers := site.Endpoint.Issuers
	if !slices.ContainsFunc(issuers, func(i authority.Issuer) bool { return i.Use == useAuthorization }) {
		issuers = slices.Concat(issuers, googleIssuers())
	}
	for _, i := range issuers {
		is := oidc.Issuer{URL: i.URL, Audience: i.Audience, JWKS: i.JWKS, Use: i.Use}
		switch i.Use {
		case useAuthorization:
			if is.Audience == "" {
				is.Audience = audienceGoogle
			}
		case useMigration:
			is.Audience = audienceMigration
			if is.JWKS == "" {
				is.JWKS = is.URL + "/certs"
			}
			d.peers = append(d.peers, is.URL)
			others.Issuers = append(others.Issuers, is)
			continue
		}
		users.Issuers = append(users.Issuers, is)
	}
	d.users, d.others, d.client = oidc.New(users), oidc.New(others), peerClient(roots)
	return d, nil
}

// peerRoots are the machine's roots and those that the record pins; nil: the
// machine's alone.
func peerRoots(e *authority.Endpoint) (*x509.CertPool, error) {
	if len(e.Certificates) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any
	}
	for _, c := range e.Certificates {
		cert, err := x509.ParseCertificate(c.DER)
		if err != nil {
			return nil, fmt.Errorf("read a root of other services: %w", err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// peerClient asks other services: directly, and never on to where one sends it.
func peerClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: patience}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience, MaxResponseHeaderBytes: 32 << 10,
			IdleConnTimeout: time.Minute, MaxIdleConns: 4,
		},
	}
}

// operation is one that takes POST.
type operation struct {
	path   string // its name in the protocol
	within time.Duration
	handle func(context.Context, *asked) (*gateway.Response, error)
}

func (d *door) operations() []operation {
	all := []operation{
		{"wrap", deadline, d.wrap},
		{"unwrap", deadline, d.unwrap},
		{"privilegedwrap", deadline, d.privilegedWrap},
		{"privilegedunwrap", deadline, d.privilegedUnwrap},
		{"takeout_unwrap", deadline, d.privilegedUnwrap}, // as privilegedunwrap was called
		{"digest", deadline, d.digest},
		{"wrapprivatekey", deadline, d.wrapPrivateKey},
		{"privatekeysign", deadline, d.privateKeySign},
		{"privatekeydecrypt", deadline, d.privateKeyDecrypt},
		{"privilegedprivatekeydecrypt", deadline, d.privilegedPrivateKeyDecrypt},
	}
	if d.signing != "" {
		all = append(all, operation{"rewrap", 2 * patience, d.rewrap}, operation{"delegate", deadline, d.delegate})
	}
	return all
}

// Routes are the operations, what browsers ask before, and two that say who this is.
func (d *door) Routes() []gateway.Route {
	var out []gateway.Route
	ask := func(path string) gateway.Route {
		return gateway.Route{Name: "preflight", Method: http.MethodOptions, Path: "/" + path, Deadline: deadline, Handle: d.preflight}
	}
	for _, op := range d.operations() {
		out = append(out, ask(op.path), gateway.Route{
			Name: routeName(op.path), Method: http.MethodPost, Path: "/" + op.path, Limit: maxBody, Deadline: op.within,
			Handle: func(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
				a, err := d.read(r)
				if err != nil {
					return nil, err
				}
				return op.handle(ctx, a)
			},
		})
	}
	get := func(path string, handle func(context.Context, *gateway.Request) (*gateway.Response, error)) {
		out = append(out, ask(path), gateway.Route{
			Name: path, Method: http.MethodGet, Path: "/" + path, Deadline: deadline, Handle: handle,
		})
	}
	get("status", d.status)
	if d.signing != "" {
		get("certs", d.certs)
	}
	return out
}

// routeName is an operation's name in logs, without the underscore of one.
func routeName(path string) string {
	if path == "takeout_unwrap" {
		return "takeout-unwrap"
	}
	return path
}

// status says who this is. It is open: it tells nothing of keys.
func (d *door) status(_ context.Context, r *gateway.Request) (*gateway.Response, error) {
	out := struct {
		Name       string   `json:"name"`
		Vendor     string   `json:"vendor_id"`
		Version    string   `json:"version"`
		Type       string   `json:"server_type"`
		Operations []string `json:"operations_supported"`
	}{"Claviger", "Claviger", "1", "KACLS", nil}
	for _, op := range d.operations() {
		out.Operations = append(out.Operations, op.path)
	}
	out.Operations = append(out.Operations, "status")
	if d.signing != "" {
		out.Operations = append(out.Operations, "certs")
	}
	return d.answer(r.Request, out, false)
}

// answer is one that pages of Google's may read.
func (d *door) answer(r *http.Request, v any, secret bool) (*gateway.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: encode the answer", gateway.ErrInternal)
	}
	h := d.shared(r)
	h.Set("Content-Type", "application/json")
	return &gateway.Response{Header: h, Body: body, Secret: secret}, nil
}

// anyone is who asks without saying who it is.
func (d *door) anyone() *authn.Caller {
	return authn.Anyone(d.site.Endpoint.Name, d.site.Endpoint.Kind)
}
