// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"slices"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Issuer is whom an endpoint believes.
type Issuer struct {
	URL      string // "iss" of its tokens, letter by letter
	Audience string // "aud" has to be it, or to hold it; an issuer without one is believed nothing
	JWKS     string // URL of its key set; "": what it says of itself below URL
	Use      string // what for: the door's own
	// Keys are its key set, as JWKS (RFC 7517), where it publishes none; then nothing
	// is fetched.
	Keys []byte
}

// Options of a Verifier.
type Options struct {
	Issuers []Issuer
	Clock   clock.Clock
	Logger  *slog.Logger   // failed fetches; nil: none
	Roots   *x509.CertPool // of the issuers' servers; nil: the system's
	// Transport replaces the way over the network.
	Transport http.RoundTripper
}

// Verifier verifies the tokens shown to one endpoint. It is safe for concurrent use.
type Verifier struct {
	clock   clock.Clock
	issuers []trusted
}

type trusted struct {
	Issuer
	keys *source
}

// New returns a Verifier. It fetches nothing yet.
func New(o Options) *Verifier {
	v := &Verifier{clock: o.Clock}
	f := newFetcher(o)
	known := map[[2]string]*source{}
	for _, is := range o.Issuers {
		if len(is.Keys) > 0 {
			v.issuers = append(v.issuers, trusted{is, given(f, is)})
			continue
		}
		at := [2]string{is.JWKS, is.URL}
		if is.JWKS != "" {
			at[1] = ""
		}
		if known[at] == nil {
			known[at] = &source{fetch: f, issuer: is.URL, jwks: is.JWKS}
		}
		v.issuers = append(v.issuers, trusted{is, known[at]})
	}
	return v
}

// Proof is that a trusted issuer signed a token for this endpoint.
type Proof struct{ claims *Claims }

// Claims are what the token says. It is nil of a Proof that Verify didn't make.
func (p Proof) Claims() *Claims { return p.claims }

// Verify judges a token that is shown for a use.
func (v *Verifier) Verify(ctx context.Context, use, text string) (Proof, error) {
	t, err := parse(text)
	if err != nil {
		return Proof{}, err
	}
	if err := t.claims.inTime(v.clock.Now()); err != nil {
		return Proof{}, err
	}
	refusal := refused("nobody who is trusted issued it for this")
	for _, is := range v.issuers {
		// Security: without an audience, a token for anybody would do (T-79).
		if is.Use != use || is.URL != t.claims.Issuer || is.Audience == "" || !slices.Contains(t.claims.Audience, is.Audience) {
			continue
		}
		keys, err := is.keys.named(ctx, t.kid)
		if err != nil {
			refusal = err
			continue
		}
		for _, k := range keys {
			if k.verify(t.algorithm, t.signed, t.signature) {
				return Proof{t.claims}, nil
			}
		}
		refusal = refused("its issuer didn't sign it so")
	}
	return Proof{}, refusal
}

// Caller makes the subject of an endpoint that the door's protocol takes from the
// claims: name is its name there. Its attributes are issuer, subject, groups and, if
// the issuer says that it verified it, email.
func (p Proof) Caller(endpoint, kind, name string) (*authn.Caller, error) {
	c := p.claims
	if c == nil {
		return nil, refused("nothing was verified")
	}
	claims := authn.SubjectClaims{
		Endpoint: endpoint, EndpointKind: kind, Name: name, Attributes: map[string]any{"issuer": c.Issuer},
		Key: wire.Sum("token", []byte(c.Issuer), []byte(c.Subject), []byte(name)), NotAfter: c.Expires.Add(leeway),
	}
	if c.Subject != "" {
		claims.Attributes["subject"] = c.Subject
	}
	// Some issuers put other things under that name: then nothing is proved.
	if groups, err := c.Strings("groups"); err == nil && len(groups) > 0 {
		claims.Attributes[authn.GroupsAttribute] = groups
	}
	if c.EmailVerified {
		claims.Attributes["email"] = c.Email
	}
	if err := claims.Check(); err != nil {
		return nil, err
	}
	return authn.SubjectCaller(claims), nil
}
