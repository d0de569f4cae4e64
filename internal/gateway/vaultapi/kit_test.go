// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/vaultapi/auth"
)

// client is a client of Vault before one endpoint.
type client struct {
	token  string // that a person was given
	role   gateway.Secret
	shown  string // the role's secret id
	change func(*authority.Endpoint)
}

// keep puts a new credential's material and names it in a record.
func keep(r *gatewaytest.Rig, e *authority.Endpoint, use, subject string) gateway.Secret {
	r.T.Helper()
	made, err := auth.Credential(use, subject)
	if err != nil {
		r.T.Fatal(err)
	}
	r.Hide(made.Material.Expose())
	made.Credential.Material = endpoints.MaterialHash(made.Material.Expose())
	if status, body := r.AsAdmin("POST", "/v1/admin/material", slices.Clone(made.Material.Expose())); status != 200 {
		r.T.Fatalf("keep a credential: %d %s", status, body)
	}
	e.Credentials = append(e.Credentials, made.Credential)
	return made
}

func options() []authority.Tag {
	return []authority.Tag{
		gatewaytest.Tag("role.app", "approle;ttl=20m;max-ttl=2h;policies=app"), gatewaytest.Tag("token.ttl", "30m"),
		gatewaytest.Tag("transit.derived", "tenant-*"), gatewaytest.Tag("transit.prefix", "apps/"),
	}
}

func (k *client) before(r *gatewaytest.Rig, e *authority.Endpoint) {
	keep(r, e, "", "")
	k.token = keep(r, e, auth.UseToken, "ci").Show
	k.role = keep(r, e, auth.UseAppRole, "app")
	k.shown = k.role.Show
	if k.change != nil {
		k.change(e)
	}
}

// makes are the keys of the suite.
func (k *client) after(r *gatewaytest.Rig) {
	r.CreateKey("apps/k", authority.AES256)
	r.CreateKey("apps/m", authority.HMACSHA)
	r.CreateKey("apps/s", authority.Ed25519)
	r.CreateKey("apps/tenant-x", authority.AES256)
	r.Allow("permit(principal, action, resource);")
	r.Kept["ciphertext"] = k.text(r, "encrypt/k", `{"plaintext":"`+b64(r.Canary())+`"}`, "ciphertext")
	r.Kept["signature"] = k.text(r, "sign/s", `{"input":"aGk="}`, "signature")
	r.Kept["hmac"] = k.text(r, "hmac/m", `{"input":"aGk="}`, "hmac")
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// text makes something and gives one member of the answer's data. At an endpoint with
// a rate it comes again.
func (k *client) text(r *gatewaytest.Rig, path, body, member string) string {
	r.T.Helper()
	for {
		reply := r.Call(&gatewaytest.Case{Route: path}, post("/transit/"+path, body))
		if reply.Status == http.StatusTooManyRequests {
			continue
		}
		var out struct{ Data map[string]any }
		if err := json.Unmarshal(reply.Body, &out); err != nil || reply.Status != http.StatusOK {
			r.T.Fatalf("%s: %d %s", path, reply.Status, reply.Body)
		}
		return fmt.Sprint(out.Data[member])
	}
}

func post(path, body string) gatewaytest.Request {
	return gatewaytest.Request{Method: "POST", Path: "/v1" + path, Body: []byte(body)}
}

// some is a name that no key has yet.
func some() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("x%x", b)
}

func wrongs() map[gateway.Failure]gatewaytest.Expect {
	denied := gatewaytest.Status(403, `{"errors":["permission denied"]}`)
	return map[gateway.Failure]gatewaytest.Expect{
		gateway.Malformed: gatewaytest.Status(400, `{"errors":["`), gateway.Unauthenticated: denied, gateway.Denied: denied,
		gateway.KeyOff:      gatewaytest.Status(400, `{"errors":["the key is disabled"]}`),
		gateway.EndpointOff: denied, gateway.Revoked: denied,
		gateway.NoRoute:     gatewaytest.Status(404, `{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}`),
		gateway.NoMethod:    gatewaytest.Status(405, `unsupported operation`),
		gateway.TooLarge:    gatewaytest.Status(413, `{"errors":["`),
		gateway.TooSlow:     gatewaytest.Status(408, `{"errors":["`),
		gateway.TooMany:     gatewaytest.Status(429, `{"errors":["`),
		gateway.Unavailable: gatewaytest.Status(500, `{"errors":["internal error"]}`),
		gateway.Sealed:      gatewaytest.Status(503, `{"errors":["Vault is sealed"]}`),
	}
}

func (k *client) suite() gatewaytest.Suite {
	s := gatewaytest.Suite{
		Kind: Kind(), Endpoint: authority.Endpoint{Options: options()}, Before: k.before, After: k.after, Wrong: wrongs(),
		Sign: func(_ *gatewaytest.Rig, req *http.Request, _ []byte) {
			if req.Header.Get("X-Vault-Token") == "" {
				req.Header.Set("X-Vault-Token", k.token)
			}
		},
		Strip: func(req *http.Request) { req.Header.Del("X-Vault-Token") },
	}
	s.Cases = slices.Concat(k.keyCases(), k.useCases(), k.offCases(), k.authCases(), sysCases())
	return s
}

// edit changes a case.
type edit func(*gatewaytest.Case)

func withKeys(names ...string) edit { return func(c *gatewaytest.Case) { c.Keys = names } }
func wants(status int, text string) edit {
	return func(c *gatewaytest.Case) { c.Want = gatewaytest.Status(status, text) }
}
func fails(f gateway.Failure, e gatewaytest.Expect) edit {
	return func(c *gatewaytest.Case) {
		if c.Wrong == nil {
			c.Wrong = map[gateway.Failure]gatewaytest.Expect{}
		}
		c.Wrong[f] = e
	}
}
func unlogged(c *gatewaytest.Case) { c.Unlogged = true }
func open(c *gatewaytest.Case)     { c.Open = true }
func lists(c *gatewaytest.Case)    { c.Lists = true }
func deep(c *gatewaytest.Case)     { c.Deep = true }
func bodyless(c *gatewaytest.Case) { c.Bodyless = true }

func newCase(route string, make func(*gatewaytest.Rig) gatewaytest.Request, edits ...edit) gatewaytest.Case {
	c := gatewaytest.Case{Route: route, Make: make}
	for _, e := range edits {
		e(&c)
	}
	return c
}

func fixedCase(route, method, path, body string, edits ...edit) gatewaytest.Case {
	return newCase(route, func(*gatewaytest.Rig) gatewaytest.Request {
		return gatewaytest.Request{Method: method, Path: "/v1" + path, Body: []byte(body)}
	}, edits...)
}

func (k *client) keyCases() []gatewaytest.Case {
	nothing := func(r gatewaytest.Reply) error {
		if r.Status != 200 && (r.Status != 404 || string(r.Body) != "{\"errors\":[]}\n") {
			return fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return nil
	}
	fresh := func(method, path, body string) func(r *gatewaytest.Rig) gatewaytest.Request {
		return func(r *gatewaytest.Rig) gatewaytest.Request {
			name := some()
			r.CreateKey("apps/"+name, authority.AES256)
			return gatewaytest.Request{Method: method, Path: fmt.Sprintf("/v1/transit/keys/%s%s", name, path), Body: []byte(body)}
		}
	}
	return []gatewaytest.Case{
		fixedCase("transit-keys", "LIST", "/transit/keys", "", wants(200, `"keys":["k","m","s","tenant-x"`), fails(gateway.Denied, nothing), lists),
		fixedCase("transit-keys-slash", "GET", "/transit/keys/?list=true", "", wants(200, `"keys":["k","m","s","tenant-x"`), fails(gateway.Denied, nothing), lists),
		fixedCase("transit-key-read", "GET", "/transit/keys/k", "", wants(200, `"type":"aes256-gcm96"`)),
		newCase("transit-key-create", func(*gatewaytest.Rig) gatewaytest.Request {
			return post("/transit/keys/"+some(), `{"type":"aes256-gcm96","derived":false,"exportable":false,"allow_plaintext_backup":false,"auto_rotate_period":0,"key_size":0}`)
		}, bodyless, wants(200, `"latest_version":1`)),
		fixedCase("transit-key-delete", "DELETE", "/transit/keys/k", "", wants(400, "error deleting policy k: deletion is not allowed for this key")),
		fixedCase("transit-key-config", "POST", "/transit/keys/k/config", `{"min_decryption_version":1,"min_encryption_version":0,"deletion_allowed":false}`, bodyless),
		newCase("transit-key-rotate", fresh("POST", "/rotate", `{"x":1}`), func(c *gatewaytest.Case) { c.Free = []string{"x"} }, bodyless, wants(200, `"latest_version":2`)),
		fixedCase("transit-key-trim", "POST", "/transit/keys/k/trim", `{"min_available_version":1}`),
		newCase("transit-key-retire", fresh("POST", "/soft-delete", `{"x":1}`), func(c *gatewaytest.Case) { c.Free = []string{"x"} }, bodyless, wants(204, "")),
		newCase("transit-key-retire-too", fresh("DELETE", "/soft-delete", ""), wants(204, "")),
	}
}

func (k *client) useCases() []gatewaytest.Case {
	kept := func(path, format, name string) func(*gatewaytest.Rig) gatewaytest.Request {
		return func(r *gatewaytest.Rig) gatewaytest.Request { return post(path, fmt.Sprintf(format, r.Kept[name])) }
	}
	k1, s1, m1 := withKeys("apps/k"), withKeys("apps/s"), withKeys("apps/m")
	return []gatewaytest.Case{
		newCase("transit-encrypt", func(r *gatewaytest.Rig) gatewaytest.Request {
			return post("/transit/encrypt/k", `{"plaintext":"`+b64(r.Canary())+`","associated_data":"","context":"","key_version":1,"nonce":"","reference":"a","type":"aes256-gcm96"}`)
		}, k1, wants(200, `"ciphertext":"vault:v1:`)),
		newCase("transit-decrypt", kept("/transit/decrypt/k", `{"ciphertext":%q,"reference":"a"}`, "ciphertext"), k1, wants(200, `"plaintext":"`)),
		newCase("transit-rewrap", kept("/transit/rewrap/k", `{"batch_input":[{"ciphertext":%q}],"partial_failure_response_code":201}`, "ciphertext"), k1, wants(200, `"batch_results":[{"ciphertext":"vault:v1:`)),
		fixedCase("transit-datakey", "POST", "/transit/datakey/plaintext/tenant-x", `{"context":"YQ==","bits":512}`, withKeys("apps/tenant-x"), wants(200, `"plaintext":"`)),
		fixedCase("transit-sign", "POST", "/transit/sign/s", `{"input":"aGk=","prehashed":false,"marshaling_algorithm":"asn1"}`, s1, wants(200, `"signature":"vault:v1:`)),
		fixedCase("transit-sign-with", "PUT", "/transit/sign/s/sha2-512", `{"input":"aGk="}`, s1, wants(200, `"signature":"vault:v1:`)),
		newCase("transit-verify", kept("/transit/verify/s", `{"input":"aGk=","signature":%q}`, "signature"), s1, wants(200, `"valid":true`)),
		newCase("transit-verify-with", kept("/transit/verify/m/sha2-256", `{"input":"aGk=","hmac":%q}`, "hmac"), m1, wants(200, `"valid":true`)),
		fixedCase("transit-hmac", "POST", "/transit/hmac/m", `{"input":"aGk="}`, m1, wants(200, `"hmac":"vault:v1:`)),
		fixedCase("transit-hmac-with", "POST", "/transit/hmac/m/sha2-256", `{"batch_input":[{"input":"aGk="}]}`, m1, wants(200, `"batch_results":[{"hmac":"vault:v1:`)),
		fixedCase("transit-random", "POST", "/transit/random", `{"bytes":16,"format":"hex"}`, unlogged, bodyless, wants(200, `"random_bytes":"`)),
		fixedCase("transit-random-of", "POST", "/transit/random/16", "", unlogged, wants(200, `"random_bytes":"`)),
		fixedCase("transit-random-of-bytes", "PUT", "/transit/random/all/16", "", unlogged, wants(200, `"random_bytes":"`)),
		fixedCase("transit-hash", "POST", "/transit/hash", `{"input":"aGk=","algorithm":"sha2-256","format":"hex"}`, unlogged, wants(200, `"sum":"8f434346`)),
		fixedCase("transit-hash-with", "POST", "/transit/hash/sha2-256", `{"input":"aGk="}`, unlogged, wants(200, `"sum":"8f434346`)),
	}
}

func (k *client) offCases() []gatewaytest.Case {
	var out []gatewaytest.Case
	for route, path := range map[string]string{
		"key-import": "POST /keys/k/import", "key-import-version": "POST /keys/k/import_version", "export": "GET /export/encryption-key/k",
		"byok-export": "GET /byok-export/a/b", "backup": "GET /backup/k", "restore": "POST /restore", "restore-as": "POST /restore/k",
		"wrapping-key": "GET /wrapping_key",
	} {
		method, path, _ := strings.Cut(path, " ")
		out = append(out, fixedCase("transit-"+route, method, "/transit"+path, "", unlogged, wants(400, "is not allowed: Claviger's keys don't leave it by this way")))
	}
	return out
}

func (k *client) authCases() []gatewaytest.Case {
	child := func(r *gatewaytest.Rig) string {
		t := k.login(r)
		r.Hide([]byte(t))
		return t
	}
	asChild := func(path, body string) func(*gatewaytest.Rig) gatewaytest.Request {
		return func(r *gatewaytest.Rig) gatewaytest.Request {
			req := post(path, body)
			req.Header = http.Header{"X-Vault-Token": {child(r)}}
			return req
		}
	}
	ofChild := func(path, more string) func(*gatewaytest.Rig) gatewaytest.Request {
		return func(r *gatewaytest.Rig) gatewaytest.Request {
			t := child(r)
			req := post(path, fmt.Sprintf(`{"token":%q%s}`, t, more))
			req.Header = http.Header{"X-Vault-Token": {t}}
			return req
		}
	}
	gone := gatewaytest.Status(400, `{"errors":["`)
	free := func(c *gatewaytest.Case) { c.Free = []string{"x"} }
	return []gatewaytest.Case{
		fixedCase("auth-lookup-self", "GET", "/auth/token/lookup-self", "", unlogged, wants(200, `"display_name":"token-ci"`)),
		fixedCase("auth-lookup-self-too", "POST", "/auth/token/lookup-self", `{"x":1}`, unlogged, bodyless, free, wants(200, `"expire_time":null`)),
		newCase("auth-lookup", ofChild("/auth/token/lookup", ""), unlogged, wants(200, `"path":"auth/approle/login"`)),
		fixedCase("auth-create", "POST", "/auth/token/create", `{"display_name":"d","ttl":"1200s","explicit_max_ttl":"0","renewable":false,"policies":["default"],"num_uses":0,"type":"service"}`, unlogged, bodyless, func(c *gatewaytest.Case) { c.Free = []string{"ttl", "explicit_max_ttl"} }, wants(200, `"client_token":"cvt.`)),
		newCase("auth-renew-self", asChild("/auth/token/renew-self", `{"increment":60}`), unlogged, bodyless, wants(200, `"client_token":"cvt.`)),
		newCase("auth-renew", ofChild("/auth/token/renew", `,"increment":"2m"`), unlogged, func(c *gatewaytest.Case) { c.Free = []string{"increment"} }, wants(200, `"client_token":"cvt.`)),
		newCase("auth-revoke-self", asChild("/auth/token/revoke-self", `{"x":1}`), unlogged, bodyless, free, wants(204, "")),
		newCase("auth-revoke", ofChild("/auth/token/revoke", ""), unlogged, wants(204, "")),
		newCase("auth-approle-login", func(*gatewaytest.Rig) gatewaytest.Request {
			return post("/auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, k.role.Credential.ID, k.shown))
		}, open, wants(200, `"policies":["default","app"]`)),
		fixedCase("auth-jwt-login", "POST", "/auth/jwt/login", `{"role":"x","jwt":"a.b.c"}`, open, func(c *gatewaytest.Case) { c.Want = gone }),
		fixedCase("auth-kubernetes-login", "POST", "/auth/kubernetes/login", `{"role":"x","jwt":"a.b.c"}`, open, func(c *gatewaytest.Case) { c.Want = gone }),
		fixedCase("auth-cert-login", "POST", "/auth/cert/login", `{"name":"x"}`, open, bodyless, func(c *gatewaytest.Case) { c.Want = gone }),
	}
}

// login makes a token of the role's.
func (k *client) login(r *gatewaytest.Rig) string {
	r.T.Helper()
	for {
		reply := r.Call(&gatewaytest.Case{Route: "login"}, post("/auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, k.role.Credential.ID, k.shown)))
		var out struct {
			Auth struct {
				Token string `json:"client_token"`
			}
		}
		if err := json.Unmarshal(reply.Body, &out); err == nil && reply.Status == 200 {
			return out.Auth.Token
		}
		if reply.Status != http.StatusTooManyRequests {
			return "cvt.none" // where the endpoint is off, which is what is tried
		}
	}
}

func sysCases() []gatewaytest.Case {
	return []gatewaytest.Case{
		fixedCase("sys-health", "GET", "/sys/health", "", open, wants(200, `"sealed":false`), fails(gateway.Sealed, gatewaytest.Status(503, `"sealed":true`))),
		fixedCase("sys-seal-status", "GET", "/sys/seal-status", "", open, wants(200, `"initialized":true`), fails(gateway.Sealed, gatewaytest.Status(200, `"sealed":true`))),
		fixedCase("sys-leader", "GET", "/sys/leader", "", open, wants(200, `"is_self":true`)),
		fixedCase("sys-init", "GET", "/sys/init", "", open, wants(200, `"initialized":true`)),
		fixedCase("sys-mounts", "GET", "/sys/mounts", "", unlogged, wants(200, `"transit/":{`)),
		fixedCase("sys-mount", "GET", "/sys/mounts/transit/tune", "", unlogged, wants(200, `"max_lease_ttl":86400`)),
		fixedCase("sys-mount-write", "POST", "/sys/mounts/transit", "", unlogged, wants(400, "mounts are the endpoint's settings")),
		fixedCase("sys-auth", "GET", "/sys/auth", "", unlogged, wants(200, `"approle/":{`)),
		fixedCase("sys-ui-mounts", "GET", "/sys/internal/ui/mounts", "", unlogged, wants(200, `"secret":{"transit/"`)),
		fixedCase("sys-ui-mount", "GET", "/sys/internal/ui/mounts/transit/keys", "", unlogged, deep, wants(200, `"path":"transit/"`)),
		fixedCase("sys-capabilities-self", "POST", "/sys/capabilities-self", `{"paths":["auth/token/lookup-self"],"path":""}`, unlogged, wants(200, `"capabilities":["read"]`)),
	}
}

// TestConformance tries everything that must not work on every route.
func TestConformance(t *testing.T) { gatewaytest.Run(t, (&client{}).suite()) }

// FuzzBodies hands any body to every route.
func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, (&client{}).suite()) }

// serve brings a door up with a policy.
func serve(t *testing.T, k *client, policy string) *gatewaytest.Rig {
	t.Helper()
	s := k.suite()
	s.Endpoint.Name, s.Endpoint.Kind = "door", name
	s.Cases = nil
	r := gatewaytest.New(t, &s)
	r.Allow(policy)
	return r
}

// ask makes a request with a token and gives status and body.
func ask(r *gatewaytest.Rig, token, method, path, body string) (int, map[string]any) {
	r.T.Helper()
	req := gatewaytest.Request{Method: method, Path: "/v1" + path, Body: []byte(body), Header: http.Header{}}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	reply := r.Call(&gatewaytest.Case{Route: path}, req)
	var out map[string]any
	if len(bytes.TrimSpace(reply.Body)) > 0 {
		if err := json.Unmarshal(reply.Body, &out); err != nil {
			r.T.Fatalf("%s: %d %s", path, reply.Status, reply.Body)
		}
	}
	return reply.Status, out
}
