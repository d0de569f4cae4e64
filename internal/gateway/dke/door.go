// SPDX-License-Identifier: Apache-2.0

package dke

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/oidc"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

const (
	deadline = 5 * time.Second
	maxBody  = 8 << 10
	maxValue = 512 // bytes of a ciphertext: RSA with 4,096 bits
)

// door serves the keys of one endpoint.
type door struct {
	site     gateway.Site
	audience string // of tokens: what the challenge calls the resource
	tokens   *oidc.Verifier
	names    *regexp.Regexp
}

// newDoor makes the door of an endpoint.
func newDoor(site gateway.Site) (gateway.Door, error) {
	d := &door{site: site, audience: audience(site), names: regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)}
	o := oidc.Options{Clock: site.Clock, Logger: site.Logger}
	for _, i := range site.Endpoint.Issuers {
		is := oidc.Issuer{URL: i.URL, Audience: i.Audience, JWKS: i.JWKS, Use: useToken}
		if is.Audience == "" {
			is.Audience = d.audience
		}
		o.Issuers = append(o.Issuers, is)
	}
	d.tokens = oidc.New(o)
	return d, nil
}

// Routes are the two of the protocol. The sample's router takes any case of the
// last word.
func (d *door) Routes() []gateway.Route {
	return []gateway.Route{
		{Name: "public-key", Method: http.MethodGet, Path: "/{name}", Deadline: deadline, Handle: d.publicKey},
		{Name: "decrypt", Method: http.MethodPost, Path: "/{name}/{version}/{word}", Limit: maxBody, Deadline: deadline, Handle: d.decrypt},
	}
}

// key is the name of our key for the one that a path names.
func (d *door) key(r *gateway.Request) (string, error) {
	name := r.PathValue("name")
	if !d.names.MatchString(name) {
		return "", invalid("names of keys have at most 64 characters of a-z, 0-9, ., _ and -")
	}
	r.Note("key", name)
	return d.site.KeyName(name), nil
}

// publicKey gives the newest version's public half. Its id is the URL to which
// clients add "/decrypt", so it has to be the public one.
func (d *door) publicKey(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
	name, err := d.key(r)
	if err != nil {
		return nil, err
	}
	a, err := d.site.Do(ctx, authn.Anyone(d.site.Endpoint.Name, d.site.Endpoint.Kind), &keyserver.Use{
		Operation: "wrapping-key", Item: wire.Item{Name: name}, Route: d.site.Endpoint.Kind, Request: wire.Sum("dke request", []byte(r.RequestURI)),
	})
	if err != nil {
		return nil, err
	}
	used := a.(*keyserver.Used)
	pub, err := x509.ParsePKIXPublicKey(used.Output)
	key, ok := pub.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, invalid("the key is no RSA key")
	}
	type jwk struct {
		Type      string `json:"kty"`
		Modulus   []byte `json:"n"` // standard Base64, unlike RFC 7518
		Exponent  int    `json:"e"` // a number, unlike RFC 7518
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
	}
	type cache struct {
		Until string `json:"exp"` // UTC, without saying so
	}
	out := struct {
		Key   jwk    `json:"key"`
		Cache *cache `json:"cache,omitempty"`
	}{Key: jwk{"RSA", key.N.Bytes(), key.E, "RS256", d.public(r) + "/" + r.PathValue("name") + "/" + strconv.FormatUint(used.Version, 10)}}
	if text := d.site.Option(optionCache); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%w: option %s", gateway.ErrInternal, optionCache)
		}
		out.Cache = &cache{d.site.Clock.Now().UTC().Add(time.Duration(seconds) * time.Second).Format("2006-01-02T15:04:05")}
	}
	return answer(out, false)
}

// public is the endpoint's URL as clients know it.
func (d *door) public(r *gateway.Request) string {
	if url := d.site.Option(optionURL); url != "" {
		return url
	}
	return r.Base
}

// decrypt opens a content key for whom the token names.
func (d *door) decrypt(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
	if !strings.EqualFold(r.PathValue("word"), "decrypt") {
		return nil, gateway.ErrNotFound
	}
	// Security: who asks comes first, what it asks second (T-66).
	caller, err := d.caller(ctx, r)
	if err != nil {
		return nil, err
	}
	name, err := d.key(r)
	if err != nil {
		return nil, err
	}
	version, err := strconv.ParseUint(r.PathValue("version"), 10, 32)
	if err != nil || version == 0 || strconv.FormatUint(version, 10) != r.PathValue("version") {
		return nil, invalid("there is no such key id")
	}
	if err := r.NeedJSON(true); err != nil {
		return nil, err
	}
	var in struct {
		Algorithm string `json:"alg"`
		Value     string `json:"value"`
	}
	if err := r.DecodeJSON(&in, true); err != nil {
		return nil, err
	}
	if in.Algorithm != "RSA-OAEP-256" {
		return nil, invalid("alg is not RSA-OAEP-256")
	}
	value, err := gateway.Base64("value", in.Value, maxValue)
	if err != nil {
		return nil, err
	}
	a, err := d.site.Do(ctx, caller, &keyserver.Use{
		Operation: "unwrap-rsa", Item: wire.Item{Name: name, Version: version}, Input: value, Route: d.site.Endpoint.Kind,
		Request: wire.Sum("dke request", r.Body),
	})
	if err != nil {
		return nil, err
	}
	opened := a.(*keyserver.Used).Output
	defer clear(opened)
	return answer(struct {
		Value []byte `json:"value"`
	}{opened}, true)
}

// caller is whom the bearer token names.
func (d *door) caller(ctx context.Context, r *gateway.Request) (*authn.Caller, error) {
	token, err := r.Bearer()
	if err != nil {
		return nil, err
	}
	proof, err := d.tokens.Verify(ctx, useToken, token)
	if err != nil {
		return nil, err
	}
	name, err := d.nameOf(proof.Claims())
	if err != nil {
		return nil, err
	}
	r.Note("user", name)
	return proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, name)
}

// nameOf is the user's name in policies: the first of the claims that the endpoint
// names which the token has, in lower case.
func (d *door) nameOf(c *oidc.Claims) (string, error) {
	claims := d.site.Option(optionClaim)
	if claims == "" {
		claims = defaultClaims
	}
	for name := range strings.SplitSeq(claims, ",") {
		if c.Raw(name) == nil {
			continue
		}
		text, err := c.Text(name)
		if err != nil {
			return "", err
		}
		if text != "" {
			return lower(text), nil
		}
	}
	return "", invalid("the token names nobody: it has none of the claims " + claims)
}

// lower is a name in lower case. Security: of ASCII alone: there are letters beyond
// it, such as the Kelvin sign, whose lower case is another user's letter (T-83).
func lower(name string) string {
	out := []byte(name)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}

func answer(v any, secret bool) (*gateway.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: encode the answer", gateway.ErrInternal)
	}
	return &gateway.Response{Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Secret: secret}, nil
}
