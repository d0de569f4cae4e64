// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/oidc"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// maxShown is how many versions of the signing key are shown: tokens under an older
// one have ended.
const maxShown = 4

// keyID names a version in tokens and key sets.
func keyID(version uint64) string { return "v" + strconv.FormatUint(version, 10) }

// schemes are the JWS algorithm and our scheme for a signing key (RFC 7518, 3.1).
func schemes(algorithm string) (jws, scheme string, ok bool) {
	switch algorithm {
	case "ecdsa-p256":
		return "ES256", "ecdsa-p256-sha256", true
	case "rsa-2048", "rsa-3072", "rsa-4096":
		return "RS256", "rsa-pkcs1v15-sha256", true
	}
	return "", "", false
}

func (d *door) describe(ctx context.Context, caller *authn.Caller) (*keyserver.Described, error) {
	a, err := d.site.Do(ctx, caller, &keyserver.Describe{Name: d.signing, Route: d.site.Endpoint.Kind})
	if err != nil {
		return nil, err
	}
	key, ok := a.(*keyserver.Described)
	if !ok {
		return nil, fmt.Errorf("%w: no description", gateway.ErrInternal)
	}
	return key, nil
}

// token signs claims with the signing key, as a caller who may.
func (d *door) token(ctx context.Context, caller *authn.Caller, r *asked, claims any) (string, error) {
	key, err := d.describe(ctx, caller)
	if err != nil {
		return "", err
	}
	jws, scheme, ok := schemes(key.Algorithm)
	if !ok {
		return "", forbidden("the signing key's algorithm signs no tokens")
	}
	header, err := json.Marshal(map[string]string{"alg": jws, "kid": keyID(key.Version), "typ": "JWT"})
	if err != nil {
		return "", fmt.Errorf("%w: encode a token", gateway.ErrInternal)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("%w: encode a token", gateway.ErrInternal)
	}
	text := urlEncode(header) + "." + urlEncode(body)
	used, err := d.use(ctx, caller, r, &keyserver.Use{
		Operation: "sign", Item: wire.Item{Name: d.signing, Version: key.Version}, Input: []byte(text), Scheme: scheme,
	})
	if err != nil {
		return "", err
	}
	signature := used.Output
	if jws == "ES256" {
		if signature, err = fixed(signature); err != nil {
			return "", err
		}
	}
	return text + "." + urlEncode(signature), nil
}

// fixed is an ECDSA signature as tokens have it: r ‖ s, of 32 bytes each (RFC 7518,
// section 3.4).
func fixed(der []byte) ([]byte, error) {
	var s struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) > 0 || s.R.Sign() <= 0 || s.S.Sign() <= 0 || s.R.BitLen() > 256 || s.S.BitLen() > 256 {
		return nil, fmt.Errorf("%w: a signature has another form", gateway.ErrInternal)
	}
	return append(s.R.FillBytes(make([]byte, 32)), s.S.FillBytes(make([]byte, 32))...), nil
}

func urlEncode(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }

// jwk is a public key (RFC 7517).
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	Modulus   string `json:"n,omitempty"`
	Exponent  string `json:"e,omitempty"`
}

// keySet is the public half of the signing key, for whoever asks: its newest versions.
func (d *door) keySet(ctx context.Context) ([]byte, error) {
	key, err := d.describe(ctx, d.anyone())
	if err != nil {
		return nil, err
	}
	all := &keyserver.UseAll{}
	for i := len(key.Versions) - 1; i >= 0 && len(all.Uses) < maxShown; i-- {
		all.Uses = append(all.Uses, &keyserver.Use{
			Operation: "public-key", Item: wire.Item{Name: d.signing, Version: key.Versions[i].Number}, Route: d.site.Endpoint.Kind,
		})
	}
	a, err := d.site.Do(ctx, d.anyone(), all)
	if err != nil {
		return nil, err
	}
	var keys []jwk
	results := a.(*keyserver.UsedAll).Results
	for _, result := range results {
		if result.Err != nil { // destroyed
			err = result.Err
			continue
		}
		k, kerr := publicKey(result.Used)
		if kerr != nil {
			return nil, kerr
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, err
	}
	return json.Marshal(map[string]any{"keys": keys})
}

func publicKey(used *keyserver.Used) (jwk, error) {
	pub, err := x509.ParsePKIXPublicKey(used.Output)
	if err != nil {
		return jwk{}, fmt.Errorf("%w: read a public key", gateway.ErrInternal)
	}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(pub.E)).Bytes()
		return jwk{Type: "RSA", Use: "sig", Algorithm: "RS256", ID: keyID(used.Version), Modulus: urlEncode(pub.N.Bytes()), Exponent: urlEncode(e)}, nil
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err == nil && len(point) == 65 {
			return jwk{
				Type: "EC", Use: "sig", Algorithm: "ES256", ID: keyID(used.Version), Curve: "P-256",
				X: urlEncode(point[1:33]), Y: urlEncode(point[33:]),
			}, nil
		}
	}
	return jwk{}, forbidden("the signing key's algorithm signs no tokens")
}

// certs gives the key set to other services.
func (d *door) certs(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
	set, err := d.keySet(ctx)
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request, json.RawMessage(set), false)
}

// ownTokens verifies what this endpoint has signed for somebody who acts for a user.
func (d *door) ownTokens(ctx context.Context) (*oidc.Verifier, error) {
	set, err := d.keySet(ctx)
	if err != nil {
		return nil, err
	}
	own := oidc.Issuer{URL: d.url, Audience: audienceDelegated, Use: useDelegated, Keys: set}
	return oidc.New(oidc.Options{Clock: d.site.Clock, Logger: d.site.Logger, Issuers: []oidc.Issuer{own}}), nil
}

// delegation is for how long somebody may act for a user.
const delegation = 15 * time.Minute

// delegate makes a token for whom Google says that he acts for a user, with one
// resource. It says of the user what the user's own token says.
func (d *door) delegate(ctx context.Context, r *asked) (*gateway.Response, error) {
	g, id, err := d.both(ctx, r, roleReader, roleWriter, roleUpgrader)
	if err != nil {
		return nil, err
	}
	switch {
	case g.delegate == "":
		return nil, forbidden("the authorization delegates nothing")
	case len(g.delegate) > maxAddress:
		return nil, forbidden("the authorization's delegate has no usable name")
	case id.delegate != "":
		return nil, forbidden("who acts for a user can't let others do so")
	}
	r.Note("delegated_to", g.delegate)
	caller, err := id.proof.Caller(d.site.Endpoint.Name, d.site.Endpoint.Kind, id.email)
	if err != nil {
		return nil, err
	}
	now := d.site.Clock.Now()
	was := id.proof.Claims()
	claims := map[string]any{
		"iss": d.url, "aud": audienceDelegated, "iat": now.Unix(), "exp": soonest(now.Add(delegation), was.Expires).Unix(),
		"email": id.email, "delegated_to": g.delegate, "resource_name": g.resource,
	}
	// Security: what policy knows of the user it has to know of who acts for him, or a
	// rule that forbids would be led around.
	for _, name := range []string{"sub", "groups"} {
		if raw := was.Raw(name); raw != nil {
			claims[name] = raw
		}
	}
	if was.EmailVerified && lower(was.Email) == id.email {
		claims["email_verified"] = true
	}
	token, err := d.token(ctx, caller, r, claims)
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request.Request, struct {
		Token string `json:"delegated_authentication"`
	}{token}, true)
}
