// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/oidc"
	"claviger/internal/strictjson"
)

// Roles of Google's authorization tokens.
const (
	roleReader    = "reader"
	roleWriter    = "writer"
	roleUpgrader  = "upgrader"
	roleMigrator  = "migrator"
	roleVerifier  = "verifier"
	roleSigner    = "signer"
	roleDecrypter = "decrypter"
)

// grant is what Google says: somebody may do something with one resource.
type grant struct {
	proof                                      oidc.Proof
	email, role, resource, perimeter, delegate string
	spki, spkiAlgorithm                        string
}

// authorization judges Google's token, for an operation that some roles may.
func (d *door) authorization(ctx context.Context, r *asked, roles ...string) (*grant, error) {
	proof, err := d.users.Verify(ctx, useAuthorization, r.Authorization)
	if err != nil {
		return nil, err
	}
	g := &grant{proof: proof}
	var url, owner, kind, email string
	err = read(proof.Claims(), map[string]*string{
		"email": &email, "email_type": &kind, "role": &g.role, "kacls_url": &url, "kacls_owner_domain": &owner, "resource_name": &g.resource,
		"perimeter_id": &g.perimeter, "delegated_to": &g.delegate, "spki_hash": &g.spki, "spki_hash_algorithm": &g.spkiAlgorithm,
	})
	if err != nil {
		return nil, err
	}
	r.Note("resource", g.resource)
	ours := proof.Claims().Raw("kacls_owner_domain") == nil || strings.EqualFold(owner, d.site.Option(optionDomain))
	switch {
	// Security: a server between a browser and this one would show tokens made for its
	// own URL. What the request says of the host is that server's word (T-95).
	case strings.TrimSuffix(url, "/") != d.url:
		return nil, forbidden("the authorization is for another key service")
	case !ours:
		return nil, forbidden("the authorization is of another domain's key service")
	case !slices.Contains(roles, g.role):
		return nil, forbidden("the authorization's role does not permit this operation")
	case !named(g.resource, false) || !named(g.perimeter, true):
		return nil, forbidden("the authorization's resource or perimeter has no usable name")
	case !d.welcome(kind):
		return nil, forbidden("guests are not admitted")
	}
	if email != "" {
		var ok bool
		if g.email, ok = address(email); !ok {
			return nil, forbidden("the authorization's e-mail address is not usable")
		}
	}
	return g, nil
}

// welcome reports whether users of a kind may come. Security: a kind that isn't known
// is no Google account.
func (d *door) welcome(kind string) bool {
	return kind == "" || kind == "google" || d.guests && (kind == "google-visitor" || kind == "customer-idp")
}

// identity is what an identity provider says: who somebody is.
type identity struct {
	proof                     oidc.Proof
	email, resource, delegate string
}

// authentication judges an identity provider's token, or one that this endpoint has
// made for somebody who acts for a user.
func (d *door) authentication(ctx context.Context, r *asked) (*identity, error) {
	verifier, use := d.users, useAuthentication
	if d.signing != "" && issuer(r.Authentication) == d.url {
		own, err := d.ownTokens(ctx)
		if err != nil {
			return nil, err
		}
		verifier, use = own, useDelegated
	}
	proof, err := verifier.Verify(ctx, use, r.Authentication)
	if err != nil {
		return nil, err
	}
	id := &identity{proof: proof}
	var email, google string
	if err := read(proof.Claims(), map[string]*string{
		"email": &email, "google_email": &google, "delegated_to": &id.delegate, "resource_name": &id.resource,
	}); err != nil {
		return nil, err
	}
	if google != "" {
		email = google
	} else if unverified(proof.Claims()) {
		return nil, forbidden("the identity provider has not verified the e-mail address")
	}
	var ok bool
	if id.email, ok = address(email); !ok {
		return nil, forbidden("the authentication names no usable e-mail address")
	}
	if use == useDelegated && (id.delegate == "" || id.resource == "") {
		return nil, fmt.Errorf("%w: a token of ours that delegates nothing", authn.ErrRefused)
	}
	r.Note("user", id.email)
	return id, nil
}

// unverified reports whether a token says that its address was not verified; to say
// nothing is not that.
func unverified(c *oidc.Claims) bool {
	said := string(c.Raw("email_verified"))
	return said == "false" || said == `"false"`
}

// user judges both tokens, which have to be of one user and for one thing.
func (d *door) user(ctx context.Context, r *asked, roles ...string) (*grant, *authn.Caller, error) {
	g, id, err := d.both(ctx, r, roles...)
	if err != nil {
		return nil, nil, err
	}
	// Security: who acts for a user may do so with one resource, and Google has to know
	// of it (T-95).
	if lower(id.delegate) != lower(g.delegate) || id.delegate != "" && id.resource != g.resource {
		return nil, nil, forbidden("the two tokens delegate different things")
	}
	if id.delegate != "" {
		r.Note("delegated_to", id.delegate)
	}
	caller, err := id.proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, id.email)
	return g, caller, err
}

// both judges both tokens as being of one user.
func (d *door) both(ctx context.Context, r *asked, roles ...string) (*grant, *identity, error) {
	id, err := d.authentication(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	g, err := d.authorization(ctx, r, roles...)
	if err != nil {
		return nil, nil, err
	}
	if g.email == "" || g.email != id.email {
		return nil, nil, forbidden("the two tokens are of different users")
	}
	return g, id, nil
}

// google judges Google's token alone: nobody is there but Google.
func (d *door) google(ctx context.Context, r *asked, role string) (*grant, *authn.Caller, error) {
	g, err := d.authorization(ctx, r, role)
	if err != nil {
		return nil, nil, err
	}
	name := g.email
	if name == "" {
		name = g.proof.Claims().Issuer
	}
	r.Note("user", name)
	caller, err := g.proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, name)
	return g, caller, err
}

// admin judges the token of somebody whom the record lets go without Google's word.
func (d *door) admin(ctx context.Context, r *asked) (*authn.Caller, error) {
	id, err := d.authentication(ctx, r)
	if err != nil {
		return nil, err
	}
	if id.delegate != "" || !slices.Contains(d.privileged, id.email) {
		return nil, forbidden("the user is not among those who may do this")
	}
	return id.proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, id.email)
}

// peer judges the token of another service that fetches a key of ours, to wrap it
// itself. Its subject is its URL.
func (d *door) peer(ctx context.Context, r *asked) (*authn.Caller, error) {
	proof, err := d.others.Verify(ctx, useMigration, r.Authentication)
	if err != nil {
		return nil, err
	}
	var url, resource string
	if err := read(proof.Claims(), map[string]*string{"kacls_url": &url, "resource_name": &resource}); err != nil {
		return nil, err
	}
	if strings.TrimSuffix(url, "/") != d.url || resource == "" || resource != r.Resource {
		return nil, forbidden("the token is for another key service or resource")
	}
	r.Note("user", proof.Claims().Issuer)
	return proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, proof.Claims().Issuer)
}

// read takes claims that are texts, and holds that the token says when it was made.
func read(c *oidc.Claims, into map[string]*string) error {
	if c.IssuedAt.IsZero() {
		return fmt.Errorf("%w: token: it doesn't say when it was made", authn.ErrRefused)
	}
	for name, to := range into {
		text, err := c.Text(name)
		if err != nil {
			return err
		}
		*to = text
	}
	return nil
}

// issuer says whose token this claims to be, to find the keys that it has to be
// verified with; "" if that can't be read.
func issuer(token string) string {
	parts := strings.Split(token, ".")
	if len(token) > oidc.MaxToken || len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || strictjson.CheckForeign(claims) != nil {
		return ""
	}
	var all map[string]json.RawMessage
	var name string
	if json.Unmarshal(claims, &all) != nil || json.Unmarshal(all["iss"], &name) != nil {
		return ""
	}
	return name
}

// maxAddress is the longest e-mail address (RFC 5321, section 4.5.3.1.3).
const maxAddress = 254

// address is an e-mail address as users are named: its ASCII letters in lower case.
// Security: one with other letters is nobody's, or two spellings could be one user
// here and two elsewhere.
func address(text string) (string, bool) {
	plain := !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f })
	at := strings.IndexByte(text, '@')
	return lower(text), plain && at > 0 && at < len(text)-1 && len(text) <= maxAddress
}

// lower turns the letters A to Z.
func lower(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}, text)
}

// soonest is the earlier of two times.
func soonest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
