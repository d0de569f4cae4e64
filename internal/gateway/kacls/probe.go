// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"claviger/internal/gateway"
)

// prober acts as a browser on Google's page does. Without a test issuer it has no user
// and no token, and opens nothing.
type prober struct {
	target gateway.ProbeTarget
	client *http.Client
}

// probe holds what Google needs of a key service before it takes it: that it says who
// it is, that pages of Google's may ask and no others, that its errors are of the
// form, and that nobody gets in with a token that nobody signed.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	client, done := target.Client(nil) // the certificate is a test issuer's
	defer done()
	p := &prober{target, client}
	steps := []struct {
		name string
		do   func(context.Context) (string, error)
	}{{"status", p.status}, {"URL", p.url}, {"page", p.page}, {"other page", p.otherPage}, {"no token", p.noToken}, {"forged token", p.forged}}
	if target.Site.Option(optionSigning) != "" {
		steps = append(steps, struct {
			name string
			do   func(context.Context) (string, error)
		}{"certs", p.certs})
	}
	var out []gateway.Check
	for _, step := range steps {
		c := gateway.Step(step.name, func() (string, error) { return step.do(ctx) })
		if out = append(out, c); c.Err != nil && step.name == "status" {
			return out // nothing answers
		}
	}
	if target.Cert == nil {
		return out
	}
	t, err := p.asUser()
	if err != nil {
		return append(out, gateway.Check{Name: "test issuer", Err: err})
	}
	return append(out, t.user(ctx)...)
}

func (p *prober) send(ctx context.Context, method, path, origin string, body any) (*http.Response, []byte, error) {
	text := []byte(nil)
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, p.target.Site.Base+path, bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	if method == http.MethodOptions {
		req.Header.Set("Access-Control-Request-Method", http.MethodPost)
		req.Header.Set("Access-Control-Request-Headers", "content-type")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp, out, err
}

func (p *prober) status(ctx context.Context) (string, error) {
	resp, body, err := p.send(ctx, http.MethodGet, "/status", pageOrigin, nil)
	if err != nil {
		return "", err
	}
	var s struct {
		Vendor     string   `json:"vendor_id"`
		Version    string   `json:"version"`
		Type       string   `json:"server_type"`
		Operations []string `json:"operations_supported"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &s) != nil || s.Type != "KACLS" || s.Vendor == "" || s.Version == "" {
		return "", fmt.Errorf("status %d without the status of a key service", resp.StatusCode)
	}
	if !slices.Contains(s.Operations, "wrap") || !slices.Contains(s.Operations, "unwrap") {
		return "", errors.New("it neither wraps nor unwraps")
	}
	return fmt.Sprintf("%d operations", len(s.Operations)), nil
}

// url says which URL tokens have to name: a wrong one is the commonest mistake.
func (p *prober) url(context.Context) (string, error) {
	own := ownURL(p.target.Site)
	if !httpsURL(own) {
		return "", fmt.Errorf("%s is no https URL, which Google wants", own)
	}
	return own, nil
}

func (p *prober) page(ctx context.Context) (string, error) {
	resp, _, err := p.send(ctx, http.MethodOptions, "/wrap", pageOrigin, nil)
	if err != nil {
		return "", err
	}
	h := resp.Header
	if resp.StatusCode > 299 || h.Get("Access-Control-Allow-Origin") != pageOrigin || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), "content-type") {
		return "", fmt.Errorf("status %d, and Google's page may not ask", resp.StatusCode)
	}
	return pageOrigin + " may ask", nil
}

func (p *prober) otherPage(ctx context.Context) (string, error) {
	resp, _, err := p.send(ctx, http.MethodOptions, "/wrap", "https://other.example.com", nil)
	if err != nil {
		return "", err
	}
	if allowed := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode < 400 || allowed != "" {
		return "", fmt.Errorf("status %d for a page of another origin", resp.StatusCode)
	}
	return "refused", nil
}

func (p *prober) noToken(ctx context.Context) (string, error) { return p.refused(ctx, "") }

// forged shows tokens that nobody signed.
func (p *prober) forged(ctx context.Context) (string, error) {
	header := urlEncode([]byte(`{"alg":"none","kid":"1"}`))
	claims := urlEncode(fmt.Appendf(nil, `{"iss":"x","aud":"x","email":"x@%s","exp":4102444800,"iat":1}`, p.target.Site.Option(optionDomain)))
	return p.refused(ctx, header+"."+claims+".")
}

func (p *prober) refused(ctx context.Context, token string) (string, error) {
	resp, body, err := p.send(ctx, http.MethodPost, "/unwrap", pageOrigin, map[string]string{
		"authentication": token, "authorization": token, "reason": "claviger endpoint test", "wrapped_key": "AAAA",
	})
	if err != nil {
		return "", err
	}
	var f struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if resp.StatusCode != http.StatusUnauthorized || json.Unmarshal(body, &f) != nil || f.Code != resp.StatusCode || f.Message == "" {
		return "", fmt.Errorf("status %d where a 401 of the protocol is due", resp.StatusCode)
	}
	return "refused", nil
}

func (p *prober) certs(ctx context.Context) (string, error) {
	resp, body, err := p.send(ctx, http.MethodGet, "/certs", "", nil)
	if err != nil {
		return "", err
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &set) != nil || len(set.Keys) == 0 {
		return "", fmt.Errorf("status %d without keys: other services can't verify this one's tokens; does policy permit verify to Subject::%q?",
			resp.StatusCode, p.target.Site.Endpoint.Name+":anyone")
	}
	return fmt.Sprintf("%d keys, %s", len(set.Keys), set.Keys[0].Algorithm), nil
}
