// SPDX-License-Identifier: Apache-2.0

package dke

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"

	"claviger/internal/gateway"
)

// given is the public key as Office reads it.
type given struct {
	Key struct {
		Type      string `json:"kty"`
		Modulus   []byte `json:"n"`
		Exponent  int    `json:"e"`
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
	} `json:"key"`
}

// prober acts as Office, which has no token: the probe holds the rules that a
// deployment has to meet, and opens nothing.
type prober struct {
	target gateway.ProbeTarget
	client *http.Client
	key    given
}

// probe fetches the public key, judges it, and asks for a decryption without a token.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	if target.Key == "" {
		return []gateway.Check{{Name: "key", Err: errors.New("say which key: --key NAME")}}
	}
	client, done := target.Client(nil)
	defer done()
	p := &prober{target: target, client: client}
	var out []gateway.Check
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{"public key", p.publicKey}, {"key id", p.keyID}, {"challenge", p.challenge}, {"forged token", p.forged}} {
		check := gateway.Step(step.name, func() (string, error) { return step.do(ctx) })
		if out = append(out, check); check.Err != nil {
			break
		}
	}
	return out
}

// base is where the target answers.
func (p *prober) base() string { return p.target.Site.Base }

func (p *prober) publicKey(ctx context.Context) (string, error) {
	resp, body, err := p.send(ctx, http.MethodGet, p.base()+"/"+p.target.Key, "", nil)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, errorText(body))
	}
	if err := json.Unmarshal(body, &p.key); err != nil {
		return "", fmt.Errorf("read the public key: %w", err)
	}
	if k := p.key.Key; k.Type != "RSA" || k.Algorithm != "RS256" || len(k.Modulus) < 256 || k.Exponent != 65537 {
		return "", errors.New("it is not the RSA key that Office expects")
	}
	return fmt.Sprintf("RSA, %d bits", len(p.key.Key.Modulus)*8), nil
}

// keyID holds that clients can post to the key's id.
func (p *prober) keyID(context.Context) (string, error) {
	id, err := url.Parse(p.key.Key.ID)
	if err != nil || id.Scheme != "https" {
		return "", fmt.Errorf("the key's id is no https URL: %.200s", p.key.Key.ID)
	}
	return p.key.Key.ID, nil
}

func (p *prober) challenge(ctx context.Context) (string, error) {
	resp, err := p.decrypt(ctx, "")
	if err != nil {
		return "", err
	}
	challenge := resp.Header.Get("WWW-Authenticate")
	if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(challenge, `Bearer resource="https://`) ||
		!strings.Contains(challenge, `authorization="`) || !strings.Contains(challenge, `realm="`) {
		return "", fmt.Errorf("status %d with %q where a challenge is due", resp.StatusCode, challenge)
	}
	return "401 with resource, authorization and realm", nil
}

// forged shows a token that nobody signed.
func (p *prober) forged(ctx context.Context) (string, error) {
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"email":"x"}`)) + "."
	resp, err := p.decrypt(ctx, token)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return "", fmt.Errorf("status %d for a token that nobody signed", resp.StatusCode)
	}
	return "refused", nil
}

// decrypt asks for what was encrypted to the key.
func (p *prober) decrypt(ctx context.Context, token string) (*http.Response, error) {
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(p.key.Key.Modulus), E: p.key.Key.Exponent}
	text, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub, []byte("claviger endpoint test"), nil)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"alg": "RSA-OAEP-256", "value": text})
	if err != nil {
		return nil, err
	}
	id := p.key.Key.ID[strings.LastIndexByte(p.key.Key.ID, '/'):]
	resp, _, err := p.send(ctx, http.MethodPost, p.base()+"/"+p.target.Key+id+"/decrypt", token, body)
	return resp, err
}

func (p *prober) send(ctx context.Context, method, to, token string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(string(body)))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp, out, err
}

// errorText is what the server says went wrong.
func errorText(body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		return "no error that can be read"
	}
	return e.Error
}
