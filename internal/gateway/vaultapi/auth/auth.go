// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/bearer"
	"claviger/internal/authn/oidc"
	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver/tokenbook"
	"claviger/internal/secret"
)

// Auth is the tokens and logins of one endpoint. It is safe for concurrent use.
type Auth struct {
	site     gateway.Site
	at       bearer.Endpoint
	settings *settings
	jwt      *oidc.Verifier

	mu      sync.Mutex
	keys    []*bearer.Issuer // the newest last; read once
	kept    map[string]*secret.Bytes
	page    *tokenbook.Page // as it was read last
	pageAge time.Duration   // by the boot clock
}

// Options vary an Auth; all of it may be left out.
type Options struct {
	// OIDC changes how issuers are reached.
	OIDC func(*oidc.Options)
}

// New reads an endpoint's record.
func New(site gateway.Site, o Options) (*Auth, error) {
	s, err := read(&site.Endpoint)
	if err != nil {
		return nil, err
	}
	a := &Auth{
		site: site, at: bearer.Endpoint{Name: site.Endpoint.Name, Kind: site.Endpoint.Kind}, settings: s, kept: map[string]*secret.Bytes{},
	}
	options := oidc.Options{Clock: site.Clock, Logger: site.Logger}
	for _, is := range site.Endpoint.Issuers {
		options.Issuers = append(options.Issuers, oidc.Issuer{URL: is.URL, Audience: is.Audience, JWKS: is.JWKS, Use: is.Use})
	}
	if o.OIDC != nil {
		o.OIDC(&options)
	}
	a.jwt = oidc.New(options)
	return a, nil
}

// Token is what is known of the token of a request.
type Token struct {
	Made   *bearer.Token         // nil of a token that a person was given
	Given  *authority.Credential // nil of one that was made
	Text   string
	Caller *authn.Caller
}

// login is how a token's holder came to it, in the words of bearer.Token.Login:
// METHOD:ID, of a credential or else of a role.
func login(use, id string) string { return use + ":" + id }

var errToken = fmt.Errorf("%w: no such token", authn.ErrRefused)

// Authenticate finds the caller of a request by its token.
func (a *Auth) Authenticate(ctx context.Context, r *gateway.Request) (*authn.Caller, any, error) {
	t, err := a.verify(ctx, call.TokenOf(r.Request))
	if err != nil {
		return nil, nil, err
	}
	return t.Caller, t, nil
}

// verify judges the text of a token.
func (a *Auth) verify(ctx context.Context, text string) (*Token, error) {
	switch {
	case strings.HasPrefix(text, bearer.SharedPrefix):
		return a.given(ctx, text)
	case strings.HasPrefix(text, bearer.Prefix):
		return a.made(ctx, text)
	}
	return nil, errToken
}

// given judges a token that a person was given.
func (a *Auth) given(ctx context.Context, text string) (*Token, error) {
	id, shown, err := bearer.Parse(text)
	if err != nil {
		return nil, err
	}
	defer shown.Wipe()
	caller, err := bearer.Check(ctx, a.at, a.shared(UseToken), id, shown)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(a.site.Endpoint.Credentials, func(c authority.Credential) bool { return c.Use == UseToken && c.ID == id })
	return &Token{Given: &a.site.Endpoint.Credentials[i], Text: text, Caller: caller}, nil
}

// shared are the live credentials of a use, as bearer checks them.
func (a *Auth) shared(use string) []bearer.Shared {
	var out []bearer.Shared
	for _, c := range a.site.Endpoint.Credentials {
		if c.Use == use {
			out = append(out, bearer.Shared{ID: c.ID, Subject: use + ":" + c.Subject, Secret: func(ctx context.Context) (*secret.Bytes, error) {
				return a.material(ctx, c)
			}})
		}
	}
	return out
}

// material is what a credential is made of; the caller wipes it. It is read once:
// another record makes another door.
func (a *Auth) material(ctx context.Context, c authority.Credential) (*secret.Bytes, error) {
	a.mu.Lock()
	kept := a.kept[c.ID]
	a.mu.Unlock()
	if kept == nil {
		var err error
		if kept, err = a.site.Material(ctx, c.Material); err != nil {
			return nil, fmt.Errorf("%w: %w", gateway.ErrInternal, err)
		}
		a.mu.Lock()
		a.kept[c.ID] = kept
		a.mu.Unlock()
	}
	return kept.Clone(), nil
}

// issuers are the keys of tokens, the newest last.
func (a *Auth) issuers(ctx context.Context) ([]*bearer.Issuer, error) {
	a.mu.Lock()
	have := a.keys
	a.mu.Unlock()
	if have != nil {
		return have, nil
	}
	for _, c := range a.site.Endpoint.Credentials {
		if c.Use != UseKey {
			continue
		}
		key, err := a.material(ctx, c)
		if err != nil {
			return nil, err
		}
		have = append(have, bearer.New(key, a.at))
		key.Wipe()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = have
	return have, nil
}

// made judges a token that a login or a parent made.
func (a *Auth) made(ctx context.Context, text string) (*Token, error) {
	issuers, err := a.issuers(ctx)
	if err != nil {
		return nil, err
	}
	var page *tokenbook.Page
	until := func(t *bearer.Token) (time.Time, error) {
		var err error
		page, err = a.book(ctx, t.Renewable() && !a.site.Clock.Now().Before(t.Expires))
		if err != nil {
			return time.Time{}, err
		}
		return page.Renewed(t.ID), nil
	}
	refused := errToken
	for _, i := range slices.Backward(issuers) {
		proof, err := i.VerifyRenewed(text, a.site.Clock.Now(), until)
		if errors.Is(err, authn.ErrRefused) {
			refused = err
			continue
		}
		if err != nil {
			return nil, err
		}
		t := proof.Token()
		// Security: revoked with any of those it was made with, and gone with the
		// credential that it came by.
		if page.Revoked(append(t.Ancestors, t.ID)...) || !a.live(t) {
			return nil, fmt.Errorf("%w: the token", authn.ErrRevoked)
		}
		caller, err := proof.Caller()
		if err != nil {
			return nil, err
		}
		return &Token{Made: t, Text: text, Caller: caller}, nil
	}
	return nil, refused
}

// live reports whether what a token came by is still in the record: the credential,
// or else the role, and the issuer whose token was shown.
func (a *Auth) live(t *bearer.Token) bool {
	use, id, _ := strings.Cut(t.Login, ":")
	if use != UseToken && use != UseAppRole {
		r, ok := a.settings.roles[id]
		trusted := use == methodCert || slices.ContainsFunc(a.site.Endpoint.Issuers, func(is authority.Issuer) bool {
			return is.Use == use && is.URL == t.Attributes["issuer"]
		})
		return ok && r.method == use && trusted
	}
	return slices.ContainsFunc(a.site.Endpoint.Credentials, func(c authority.Credential) bool { return c.Use == use && c.ID == id })
}

// pageLife is how old what is known of revoked tokens may be.
const pageLife = time.Second

// book is what became of tokens, as it was at most pageLife ago, or just now.
func (a *Auth) book(ctx context.Context, fresh bool) (*tokenbook.Page, error) {
	now := a.site.Clock.Boot()
	a.mu.Lock()
	page, age := a.page, now-a.pageAge
	a.mu.Unlock()
	if page != nil && age < pageLife && !fresh {
		return page, nil
	}
	next, err := a.site.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Security: a store that puts an old page back revives nothing here.
	a.page, a.pageAge = next.Join(a.page, a.site.Clock.Now()), now
	return a.page, nil
}

// forget has the next request read the book again.
func (a *Auth) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pageAge = -pageLife
}

// Methods are the logins that the endpoint's record makes possible.
func (a *Auth) Methods() []string {
	out := []string{"token"}
	add := func(method string) {
		if !slices.Contains(out, method) {
			out = append(out, method)
		}
	}
	for _, c := range a.site.Endpoint.Credentials {
		if c.Use == UseAppRole {
			add(UseAppRole)
		}
	}
	for _, r := range a.settings.roles {
		add(r.method)
	}
	slices.Sort(out)
	return out
}

// TTL is how long tokens of logins live, and how long they can.
func (a *Auth) TTL() (usual, most time.Duration) { return a.settings.ttl, a.settings.maxTTL }
