// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// probeResource is what a probe wraps a key for.
const probeResource = "claviger-endpoint-test"

// tester stands in for Google and for the identity provider of an endpoint whose
// record names issuers of the customer's own for both: it has the key that signs
// their tokens, whose id is the common name of its certificate.
type tester struct {
	*prober
	key        crypto.Signer
	id         string
	google, me authority.Issuer
	email      string
}

// asUser makes a tester of what the probe was given.
func (p *prober) asUser() (*tester, error) {
	t := &tester{prober: p, email: "endpoint-test@" + p.target.Site.Option(optionDomain)}
	leaf, err := x509.ParseCertificate(p.target.Cert.Certificate[0])
	if err != nil {
		return nil, errors.New("the certificate of the test issuer can't be read")
	}
	t.id = leaf.Subject.CommonName
	var ok bool
	if t.key, ok = p.target.Cert.PrivateKey.(crypto.Signer); !ok {
		return nil, errors.New("the key of the test issuer signs nothing")
	}
	for _, i := range p.target.Site.Endpoint.Issuers {
		switch i.Use {
		case useAuthorization:
			t.google = i
		case useAuthentication:
			t.me = i
		}
	}
	if t.google.URL == "" {
		return nil, errors.New("the tokens that count here are Google's own: a test issuer needs an endpoint of its own")
	}
	if t.google.Audience == "" {
		t.google.Audience = audienceGoogle
	}
	return t, nil
}

// sign makes a token.
func (t *tester) sign(by authority.Issuer, claims map[string]any) (string, error) {
	now := t.target.Site.Clock.Now()
	claims["iss"], claims["aud"], claims["iat"], claims["exp"] = by.URL, by.Audience, now.Unix(), now.Add(time.Minute).Unix()
	algorithm := "RS256"
	if _, curve := t.key.Public().(*ecdsa.PublicKey); curve {
		algorithm = "ES256"
	} else if _, ok := t.key.Public().(*rsa.PublicKey); !ok {
		return "", errors.New("the key of the test issuer is neither RSA nor EC")
	}
	header, err := json.Marshal(map[string]string{"alg": algorithm, "kid": t.id})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := urlEncode(header) + "." + urlEncode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := t.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err == nil && algorithm == "ES256" {
		signature, err = fixed(signature)
	}
	return text + "." + urlEncode(signature), err
}

// question is a request of a user's.
type question struct {
	operation, role, resource, url, member string
	value                                  []byte
}

// ask makes one, with both tokens.
func (t *tester) ask(ctx context.Context, q question) (int, map[string][]byte, error) {
	perimeter := ""
	if all := list(t.target.Site.Option(optionPerimeters)); len(all) > 0 {
		perimeter = all[0]
	}
	authorization, err := t.sign(t.google, map[string]any{
		"email": t.email, "role": q.role, "kacls_url": q.url, "resource_name": q.resource, "perimeter_id": perimeter,
	})
	if err != nil {
		return 0, nil, err
	}
	authentication, err := t.sign(t.me, map[string]any{"email": t.email, "sub": t.email, "email_verified": true})
	if err != nil {
		return 0, nil, err
	}
	resp, body, err := t.send(ctx, http.MethodPost, "/"+q.operation, pageOrigin, map[string]any{
		"authentication": authentication, "authorization": authorization, "reason": "claviger endpoint test", q.member: q.value,
	})
	if err != nil {
		return 0, nil, err
	}
	defer secret.Wipe(body)
	if resp.StatusCode != http.StatusOK {
		var f struct{ Details string }
		_ = json.Unmarshal(body, &f) // without them the status says enough
		return resp.StatusCode, nil, fmt.Errorf("status %d: %.200s", resp.StatusCode, f.Details)
	}
	var out map[string][]byte
	return resp.StatusCode, out, json.Unmarshal(body, &out)
}

// user wraps a key as a user would and unwraps it again, and holds that it opens for
// nothing else.
func (t *tester) user(ctx context.Context) []gateway.Check {
	key := make([]byte, 32)
	rand.Read(key)
	defer secret.Wipe(key)
	own := ownURL(t.target.Site)
	var wrapped []byte
	refused := func(resource, url string, want int) (string, error) {
		status, _, err := t.ask(ctx, question{"unwrap", roleReader, resource, url, "wrapped_key", wrapped})
		if status == want {
			return "refused", nil
		}
		return "", fmt.Errorf("it was not refused as it should: %d, %w", status, err)
	}
	var out []gateway.Check
	for _, step := range []struct {
		name string
		do   func() (string, error)
	}{
		{"wrap", func() (string, error) {
			_, answer, err := t.ask(ctx, question{"wrap", roleWriter, probeResource, own, "key", key})
			if err == nil && len(answer["wrapped_key"]) == 0 {
				err = errors.New("no wrapped key")
			}
			wrapped = answer["wrapped_key"]
			return fmt.Sprintf("%d bytes", len(wrapped)), err
		}},
		{"unwrap", func() (string, error) {
			_, answer, err := t.ask(ctx, question{"unwrap", roleReader, probeResource, own, "wrapped_key", wrapped})
			if err == nil && !bytes.Equal(answer["key"], key) {
				err = errors.New("not the key that was wrapped")
			}
			secret.Wipe(answer["key"])
			return "the same key", err
		}},
		{"another resource", func() (string, error) { return refused(probeResource+"-2", own, http.StatusBadRequest) }},
		{"another key service", func() (string, error) { return refused(probeResource, own+"x", http.StatusForbidden) }},
	} {
		out = append(out, gateway.Step(step.name, step.do))
		if slices.ContainsFunc(out, func(c gateway.Check) bool { return c.Err != nil }) {
			break
		}
	}
	return out
}
