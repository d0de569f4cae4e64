// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/clientcert"
	"claviger/internal/authn/oidc"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// deadline: Salesforce waits for three seconds.
const deadline = 2500 * time.Millisecond

// door hands the keys of one endpoint over.
type door struct {
	site    gateway.Site
	to      *rsa.PublicKey
	tokens  *oidc.Verifier
	names   *regexp.Regexp
	ids     *regexp.Regexp
	replays *replays
}

// newDoor makes the door of an endpoint.
func newDoor(site gateway.Site) (gateway.Door, error) {
	to, err := recipient(&site.Endpoint)
	if err != nil {
		return nil, err
	}
	keys, err := tokenKeys(site)
	if err != nil {
		return nil, err
	}
	o := oidc.Options{Clock: site.Clock, Logger: site.Logger}
	for _, i := range site.Endpoint.Issuers {
		is := oidc.Issuer{URL: i.URL, Audience: i.Audience, JWKS: i.JWKS, Use: useToken}
		if i.JWKS == "" {
			is.Keys = keys
		}
		o.Issuers = append(o.Issuers, is)
	}
	d := &door{
		site: site, to: to, names: regexp.MustCompile(`^([a-z0-9][a-z0-9._-]{0,63})-v([1-9][0-9]{0,9})$`),
		ids: regexp.MustCompile(`^[0-9A-Za-z-]{16,64}$`), replays: &replays{clock: site.Clock},
	}
	if len(o.Issuers) > 0 && site.Clock != nil {
		d.tokens = oidc.New(o)
	}
	return d, nil
}

// Routes is the one.
func (d *door) Routes() []gateway.Route {
	return []gateway.Route{{Name: "key", Method: http.MethodGet, Path: "/{kid}", Deadline: deadline, Handle: d.key}}
}

// key answers with one version of a key.
func (d *door) key(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
	// Security: who asks comes first, what it asks second (T-66).
	caller, err := d.caller(ctx, r)
	if err != nil {
		return nil, err
	}
	kid := r.PathValue("kid")
	parts := d.names.FindStringSubmatch(kid)
	if parts == nil {
		return nil, &failure{http.StatusNotFound, "key ids are NAME-vN: a name of a-z, 0-9, ., _ and -, and a version"}
	}
	version, err := strconv.ParseUint(parts[2], 10, 32)
	if err != nil {
		return nil, &failure{http.StatusNotFound, "there is no such version"}
	}
	r.Note("key", kid)
	nonce, err := d.nonce(r)
	if err != nil {
		return nil, err
	}
	a, err := d.site.Do(ctx, caller, &keyserver.Use{
		Operation: "hand-over", Item: wire.Item{Name: d.site.KeyName(parts[1]), Version: version}, Route: d.site.Endpoint.Kind,
		Request: wire.Sum("salesforce request", []byte(r.RequestURI)),
	})
	if err != nil {
		return nil, err
	}
	leaf := a.(*keyserver.Used).Output
	defer clear(leaf)
	jwe, err := encrypt(d.to, header{KeyID: kid, Nonce: nonce}, leaf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", gateway.ErrInternal, err)
	}
	body, err := json.Marshal(struct {
		KeyID string `json:"kid"`
		JWE   string `json:"jwe"`
	}{kid, jwe})
	if err != nil {
		return nil, fmt.Errorf("%w: encode the answer", gateway.ErrInternal)
	}
	return &gateway.Response{Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, Body: body}, nil
}

// nonce is the request's id, which no other request may have.
func (d *door) nonce(r *gateway.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", gateway.ErrBody
	}
	ids := query["requestId"]
	switch {
	case len(ids) == 0 && d.site.Option(optionReplay) == "off":
		return "", nil
	case len(ids) != 1 || !d.ids.MatchString(ids[0]):
		return "", &failure{http.StatusBadRequest, "one requestId of 16 to 64 letters and digits is needed: turn replay detection on in Salesforce"}
	}
	r.Note("requestId", ids[0])
	return ids[0], d.replays.use(ids[0])
}

// caller is whom a token, or else the client certificate, names.
func (d *door) caller(ctx context.Context, r *gateway.Request) (*authn.Caller, error) {
	if d.tokens == nil {
		return clientcert.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, r.TLS, d.site.Clock.Now())
	}
	token, err := r.Bearer()
	if err != nil {
		return nil, err
	}
	proof, err := d.tokens.Verify(ctx, useToken, token)
	if err != nil {
		return nil, err
	}
	name := proof.Claims().Subject
	if name == "" {
		name = proof.Claims().Issuer
	}
	r.Note("subject", name)
	return proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, name)
}
