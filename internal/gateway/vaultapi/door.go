// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/auth"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/gateway/vaultapi/kv"
	"claviger/internal/gateway/vaultapi/sys"
	"claviger/internal/gateway/vaultapi/transit"
)

// name of the kind.
const name = "vault"

// defaultRate is that of an endpoint that says nothing: an item of a batch counts as
// one request.
const defaultRate = 20_000

// Kind is Vault's API.
func Kind() *gateway.Kind { return kind(auth.Options{}) }

func kind(o auth.Options) *gateway.Kind {
	return &gateway.Kind{
		Name: name, Rate: defaultRate,
		Options: []string{
			transit.OptionMount, transit.OptionPrefix, transit.OptionDerived, kv.OptionPrefix + "*",
			auth.OptionTTL, auth.OptionMaxTTL, auth.OptionRole + "*",
		},
		Check:      check,
		New:        func(s gateway.Site) (gateway.Door, error) { return newDoor(s, o) },
		Root:       root,
		Credential: auth.Credential, Guide: guide, Probe: probe,
	}
}

// root takes what comes to /v1 under no endpoint's host and below no endpoint's name.
func root(r *http.Request) (endpoint string, mine bool) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return "", false
	}
	return strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"), true
}

// mounts reads the mounts of an endpoint's options.
func mounts(options []authority.Tag) (*transit.Mount, []*kv.Mount, error) {
	t, err := transit.New(options)
	if err != nil {
		return nil, nil, err
	}
	k, err := kv.New(options)
	if err != nil {
		return nil, nil, err
	}
	taken := []string{"sys", "auth", "cubbyhole", "identity"}
	places := []string{t.At()}
	for _, m := range k {
		places = append(places, m.At())
	}
	for _, at := range places {
		for _, other := range taken {
			// One in another would take its paths.
			if at == other || strings.HasPrefix(at, other+"/") || strings.HasPrefix(other, at+"/") {
				return nil, nil, fmt.Errorf("the mounts %s and %s are in each other's way", at, other)
			}
		}
		taken = append(taken, at)
	}
	return t, k, nil
}

func check(e *authority.Endpoint) error {
	if _, _, err := mounts(e.Options); err != nil {
		return err
	}
	if len(e.Credentials) == 0 {
		return errors.New("nobody could show a token: the endpoint has a credential at least")
	}
	return auth.Check(e)
}

type door struct {
	site   gateway.Site
	routes []gateway.Route
}

func newDoor(site gateway.Site, o auth.Options) (gateway.Door, error) {
	t, k, err := mounts(site.Endpoint.Options)
	if err != nil {
		return nil, err
	}
	who, err := auth.New(site, o)
	if err != nil {
		return nil, err
	}
	told := sys.Options{
		Mounts: []sys.Mounted{{Path: t.At(), Type: "transit", Capabilities: t.Capabilities}}, Logins: who.Methods(),
	}
	told.TTL, told.MaxTTL = who.TTL()
	routes := append(who.Routes(), t.Routes()...)
	for _, m := range k {
		told.Mounts = append(told.Mounts, sys.Mounted{Path: m.At(), Type: "kv", Options: map[string]string{"version": "2"}})
		routes = append(routes, m.Routes()...)
	}
	routes = append(routes, sys.New(site, told).Routes()...)
	return &door{site, call.Mount(site, who.Authenticate, routes)}, nil
}

// Routes are the whole API.
func (d *door) Routes() []gateway.Route { return d.routes }

// Fail writes an error as Vault does. Health and seal status have answers while the
// server is sealed.
func (d *door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if gateway.FailureOf(err) == gateway.Sealed {
		if a := sys.Sealed(r, d.site.Clock.Now()); a != nil {
			call.WriteResponse(w, a)
			return
		}
	}
	call.Fail(w, err)
}
