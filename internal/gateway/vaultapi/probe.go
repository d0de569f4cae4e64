// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/auth"
	"claviger/internal/gateway/vaultapi/transit"
)

// prober acts as a client of Vault.
type prober struct {
	target gateway.ProbeTarget
	client *http.Client
	token  string
}

// probe takes the steps of a client: health, seal status, its token, a round trip
// through a key; and that nobody without a token gets anything.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	p := &prober{target: target}
	var done func()
	p.client, done = target.Client(target.Cert)
	defer done()
	out := []gateway.Check{
		gateway.Step("health", func() (string, error) { return p.bare(ctx, "/v1/sys/health") }),
		gateway.Step("seal status", func() (string, error) { return p.bare(ctx, "/v1/sys/seal-status") }),
		gateway.Step("without a token", func() (string, error) {
			_, err := p.ask(ctx, http.MethodGet, "/v1/auth/token/lookup-self", nil, http.StatusForbidden)
			return "", err
		}),
	}
	if target.Secret == nil || target.Secret.Show == "" {
		return append(out, gateway.Check{Name: "token", Note: "not tried: no credential was given"})
	}
	login := gateway.Step("token", func() (string, error) { return p.login(ctx) })
	if out = append(out, login); login.Err != nil {
		return out
	}
	if target.Key == "" {
		return append(out, gateway.Check{Name: "transit", Note: "not tried: no key was named"})
	}
	return append(out, p.round(ctx)...)
}

// login takes the token that was given, or makes one of a role's id and secret.
func (p *prober) login(ctx context.Context) (string, error) {
	p.token = p.target.Secret.Show
	if p.target.Secret.Credential.Use == auth.UseAppRole {
		p.token = ""
		body, err := p.ask(ctx, http.MethodPost, "/v1/auth/approle/login",
			map[string]string{"role_id": p.target.Secret.Credential.ID, "secret_id": p.target.Secret.Show}, http.StatusOK)
		if err != nil {
			return "", err
		}
		var out struct {
			Auth struct {
				Token string `json:"client_token"`
			} `json:"auth"`
		}
		if json.Unmarshal(body, &out) != nil || out.Auth.Token == "" {
			return "", errors.New("a login without a token")
		}
		p.token = out.Auth.Token
	}
	body, err := p.ask(ctx, http.MethodGet, "/v1/auth/token/lookup-self", nil, http.StatusOK)
	if err != nil {
		return "", err
	}
	var out struct {
		Data struct {
			Display string `json:"display_name"`
		}
	}
	if json.Unmarshal(body, &out) != nil {
		return "", errors.New("the answer is no JSON")
	}
	return out.Data.Display, nil
}

// round encrypts, decrypts, and tries that other associated data doesn't open.
func (p *prober) round(ctx context.Context) []gateway.Check {
	at := p.target.Site.Option(transit.OptionMount)
	if at == "" {
		at = transit.DefaultMount
	}
	plain, bound := base64.StdEncoding.EncodeToString([]byte("claviger endpoint test")), base64.StdEncoding.EncodeToString([]byte("bound"))
	var out struct {
		Data struct{ Ciphertext, Plaintext string }
	}
	use := func(operation string, body map[string]string, want int) error {
		text, err := p.ask(ctx, http.MethodPost, "/v1/"+at+"/"+operation+"/"+p.target.Key, body, want)
		if err == nil && want == http.StatusOK && json.Unmarshal(text, &out) != nil {
			err = errors.New("the answer is no JSON")
		}
		return err
	}
	sealed := gateway.Step("encrypt", func() (string, error) {
		return "", use("encrypt", map[string]string{"plaintext": plain, "associated_data": bound}, http.StatusOK)
	})
	if sealed.Err != nil {
		return []gateway.Check{sealed}
	}
	return []gateway.Check{
		sealed,
		gateway.Step("decrypt", func() (string, error) {
			err := use("decrypt", map[string]string{"ciphertext": out.Data.Ciphertext, "associated_data": bound}, http.StatusOK)
			if err == nil && out.Data.Plaintext != plain {
				err = errors.New("another plaintext came back")
			}
			return "", err
		}),
		gateway.Step("other associated data is refused", func() (string, error) {
			return "", use("decrypt", map[string]string{"ciphertext": out.Data.Ciphertext}, http.StatusBadRequest)
		}),
	}
}

// bare asks for an answer without an envelope, and gives its version.
func (p *prober) bare(ctx context.Context, path string) (string, error) {
	body, err := p.ask(ctx, http.MethodGet, path, nil, http.StatusOK)
	var out struct {
		Version string
		Sealed  bool
	}
	if err == nil && (json.Unmarshal(body, &out) != nil || out.Version == "" || out.Sealed) {
		err = errors.New("it says no version, or that it is sealed")
	}
	return out.Version, err
}

// ask makes a request and expects a status.
func (p *prober) ask(ctx context.Context, method, path string, body any, want int) ([]byte, error) {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body) // texts always have a JSON form
	}
	r, err := http.NewRequestWithContext(ctx, method, p.target.Site.Base+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		r.Header.Set("X-Vault-Token", p.token)
	}
	status, answer, err := gateway.Ask(p.client, r)
	if err != nil {
		return nil, err
	}
	if status != want {
		var said struct{ Errors []string }
		_ = json.Unmarshal(answer, &said) // an answer that is none says nothing
		return nil, fmt.Errorf("status %d instead of %d %q", status, want, said.Errors)
	}
	return answer, nil
}
