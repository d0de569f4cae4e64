// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"claviger/internal/gateway"
)

// prober acts as MinIO.
type prober struct {
	target gateway.ProbeTarget
	client *http.Client
}

// probe takes the steps of MinIO: version, readiness, who it is, a data key and its
// decryption. Without a certificate and a key it tries that a stranger gets none.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	cert, known := target.Cert, target.Cert != nil
	if !known {
		var err error
		if cert, err = throwaway(target.Site.Clock.Now()); err != nil {
			return []gateway.Check{{Name: "certificate", Err: err}}
		}
	}
	p := &prober{target: target}
	var done func()
	p.client, done = target.Client(cert)
	defer done()
	out := []gateway.Check{
		gateway.Step("version", func() (string, error) { return p.text(ctx, "/version", "version") }),
		gateway.Step("ready", func() (string, error) { _, err := p.ask(ctx, "GET", "/v1/ready", nil, http.StatusOK); return "", err }),
		gateway.Step("identity", func() (string, error) { return p.text(ctx, "/v1/identity/self/describe", "identity") }),
		gateway.Step("without a certificate", func() (string, error) { return "", p.stranger(ctx) }),
	}
	key := target.Key
	switch {
	case !known:
		return append(out, gateway.Step("an unknown certificate gets no key", func() (string, error) {
			_, err := p.ask(ctx, "PUT", "/v1/key/generate/"+orAny(key), nil, http.StatusForbidden)
			return "", err
		}))
	case key == "":
		return append(out, gateway.Check{Name: "data key", Note: "not tried: no key was named"})
	}
	return append(out, p.dataKey(ctx, key)...)
}

func orAny(key string) string {
	if key == "" {
		return "probe"
	}
	return key
}

// dataKey makes one, has it decrypted, and tries that another context doesn't.
func (p *prober) dataKey(ctx context.Context, key string) []gateway.Check {
	type sealed struct {
		Plaintext  []byte `json:"plaintext,omitempty"`
		Ciphertext []byte `json:"ciphertext"`
		Context    []byte `json:"context,omitempty"`
		Version    string `json:"version"`
	}
	var made, opened sealed
	bound := []byte("claviger endpoint test")
	generate := gateway.Step("data key", func() (string, error) {
		body, err := p.ask(ctx, "PUT", "/v1/key/generate/"+key, sealed{Context: bound}, http.StatusOK)
		if err == nil && (json.Unmarshal(body, &made) != nil || len(made.Plaintext) != 32) {
			err = errors.New("no data key in the answer")
		}
		return made.Version, err
	})
	if generate.Err != nil {
		return []gateway.Check{generate}
	}
	asked := sealed{Ciphertext: made.Ciphertext, Context: bound, Version: made.Version}
	return []gateway.Check{
		generate,
		gateway.Step("its decryption", func() (string, error) {
			body, err := p.ask(ctx, "PUT", "/v1/key/decrypt/"+key, asked, http.StatusOK)
			if err == nil && (json.Unmarshal(body, &opened) != nil || !bytes.Equal(opened.Plaintext, made.Plaintext)) {
				err = errors.New("another data key came back")
			}
			return "", err
		}),
		gateway.Step("another context is refused", func() (string, error) {
			asked.Context = []byte("another")
			_, err := p.ask(ctx, "PUT", "/v1/key/decrypt/"+key, asked, http.StatusBadRequest)
			return "", err
		}),
	}
}

// stranger asks without a certificate for what takes one.
func (p *prober) stranger(ctx context.Context) error {
	c, done := p.target.Client(nil)
	defer done()
	inner := *p
	inner.client = c
	_, err := inner.ask(ctx, "GET", "/v1/status", nil, http.StatusBadRequest)
	return err
}

// text asks for a member of an answer that is a text.
func (p *prober) text(ctx context.Context, path, member string) (string, error) {
	body, err := p.ask(ctx, "GET", path, nil, http.StatusOK)
	if err != nil {
		return "", err
	}
	var out map[string]any
	text, ok := "", false
	if json.Unmarshal(body, &out) == nil {
		text, ok = out[member].(string)
	}
	if !ok || text == "" {
		return "", fmt.Errorf("the answer has no %s", member)
	}
	return text, nil
}

// ask makes a request and expects a status.
func (p *prober) ask(ctx context.Context, method, path string, body any, want int) ([]byte, error) {
	text := []byte(nil)
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, p.target.Site.Base+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	status, answer, err := gateway.Ask(p.client, r)
	if err != nil {
		return nil, err
	}
	if status != want {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &said) // what isn't KES's error says nothing
		return nil, fmt.Errorf("answered %d %s, want %d", status, strings.ToValidUTF8(said.Message, "?"), want)
	}
	return answer, nil
}

// throwaway makes a certificate that nobody knows.
func throwaway(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "claviger endpoint test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
