// SPDX-License-Identifier: Apache-2.0

// Package vault holds the door of Vault's API against HashiCorp's own client library
// and against sops.
package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/vaultapi"
	"claviger/internal/gateway/vaultapi/auth"
)

// world is a domain with a door, and what its users were given.
type world struct {
	*gatewaytest.Rig
	ca    string // file with the certificate of the port
	token string
	role  gateway.Secret
}

func newWorld(t *testing.T) *world {
	w := &world{}
	keep := func(r *gatewaytest.Rig, e *authority.Endpoint, use, subject string) gateway.Secret {
		made, err := auth.Credential(use, subject)
		if err != nil {
			t.Fatal(err)
		}
		made.Credential.Material = endpoints.MaterialHash(made.Material.Expose())
		if status, body := r.AsAdmin("POST", "/v1/admin/material", slices.Clone(made.Material.Expose())); status != http.StatusOK {
			t.Fatalf("keep a credential: %d %s", status, body)
		}
		e.Credentials = append(e.Credentials, made.Credential)
		return made
	}
	w.Rig = gatewaytest.New(t, &gatewaytest.Suite{
		Kind: vaultapi.Kind(),
		Endpoint: authority.Endpoint{Name: "vault", Kind: "vault", Options: []authority.Tag{
			gatewaytest.Tag("kv.secret", "secrets/app"), gatewaytest.Tag("role.app", "approle;ttl=20m"), gatewaytest.Tag("transit.prefix", "apps/"),
		}},
		Before: func(r *gatewaytest.Rig, e *authority.Endpoint) {
			keep(r, e, "", "")
			w.token = keep(r, e, auth.UseToken, "ci").Show
			w.role = keep(r, e, auth.UseAppRole, "app")
		},
	})
	w.CreateKey("secrets/app", authority.AES256)
	w.Allow(`permit(principal in Endpoint::"vault", action, resource);`)
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(w.ca, w.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(w.PEM()); block == nil {
		t.Fatal("the port's certificate is no PEM")
	}
	return w
}

// client makes the library's client for an address.
func (w *world) client(address, namespace, token string) *vault.Client {
	w.T.Helper()
	config := vault.DefaultConfig()
	config.Address, config.MaxRetries = address, 0
	if err := config.ConfigureTLS(&vault.TLSConfig{CACert: w.ca}); err != nil {
		w.T.Fatal(err)
	}
	c, err := vault.NewClient(config)
	if err != nil {
		w.T.Fatal(err)
	}
	c.ClearNamespace()
	if namespace != "" {
		c.SetNamespace(namespace)
	}
	c.SetToken(token)
	return c
}

// root is the port's address, for clients that know no path.
func (w *world) root() string { return strings.TrimSuffix(w.Base(), "/vault") }

// TestLibrary: HashiCorp's client library, below the endpoint's name, at the root, and
// at the root by namespace.
func TestLibrary(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]*vault.Client{
		"below its name": w.client(w.Base(), "", w.token), "at the root": w.client(w.root(), "", w.token), "by namespace": w.client(w.root(), "vault", w.token),
	} {
		t.Run(name, func(t *testing.T) {
			useSys(t, c)
			useTransit(t, w, c)
			useTokens(t, w, c)
			useSecrets(t, c)
		})
	}
	if _, err := w.client(w.root(), "other", w.token).Auth().Token().LookupSelf(); err == nil {
		t.Error("a namespace that isn't there is served")
	}
}

func useSys(t *testing.T, c *vault.Client) {
	t.Helper()
	health, err := c.Sys().Health()
	if err != nil || health.Sealed || !health.Initialized {
		t.Fatalf("health: %+v, %v", health, err)
	}
	if seal, err := c.Sys().SealStatus(); err != nil || seal.Sealed || seal.Version == "" {
		t.Errorf("seal status: %+v, %v", seal, err)
	}
	if leader, err := c.Sys().Leader(); err != nil || !leader.IsSelf {
		t.Errorf("leader: %+v, %v", leader, err)
	}
	if mounts, err := c.Sys().ListMounts(); err != nil || mounts["transit/"] == nil || mounts["secret/"].Options["version"] != "2" {
		t.Errorf("mounts: %+v, %v", mounts, err)
	}
	if can, err := c.Sys().CapabilitiesSelf("transit/random"); err != nil || !slices.Equal(can, []string{"update"}) {
		t.Errorf("capabilities: %v, %v", can, err)
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func useTransit(t *testing.T, w *world, c *vault.Client) {
	t.Helper()
	ctx := t.Context()
	write := func(path string, data map[string]any) map[string]any {
		t.Helper()
		s, err := c.Logical().WriteWithContext(ctx, path, data)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if s == nil {
			return nil
		}
		return s.Data
	}
	write("transit/keys/orders", map[string]any{"type": "aes256-gcm96"})
	sealed := write("transit/encrypt/orders", map[string]any{"plaintext": b64("attack at dawn")})["ciphertext"]
	write("transit/keys/orders/rotate", nil)
	again := write("transit/rewrap/orders", map[string]any{"ciphertext": sealed})["ciphertext"]
	for _, text := range []any{sealed, again} {
		if got := write("transit/decrypt/orders", map[string]any{"ciphertext": text})["plaintext"]; got != b64("attack at dawn") {
			t.Errorf("%v opens to %v", text, got)
		}
	}
	batch := make([]map[string]any, 70)
	for i := range batch {
		batch[i] = map[string]any{"plaintext": b64(strings.Repeat("x", i)), "reference": strings.Repeat("r", i)}
	}
	results, _ := write("transit/encrypt/orders", map[string]any{"batch_input": batch})["batch_results"].([]any)
	if len(results) != len(batch) {
		t.Fatalf("%d results", len(results))
	}
	for i, r := range results {
		one := r.(map[string]any)
		if one["reference"] != strings.Repeat("r", i) {
			t.Errorf("result %d is %v", i, one["reference"])
		}
		if got := write("transit/decrypt/orders", map[string]any{"ciphertext": one["ciphertext"]})["plaintext"]; got != b64(strings.Repeat("x", i)) {
			t.Errorf("result %d opens to %v", i, got)
		}
	}
	if s, err := c.Logical().ListWithContext(ctx, "transit/keys"); err != nil || !slices.Contains(s.Data["keys"].([]any), any("orders")) {
		t.Errorf("list: %+v, %v", s, err)
	}
	if s, err := c.Logical().ReadWithContext(ctx, "transit/keys/none"); err != nil || s != nil {
		t.Errorf("a missing key: %+v, %v", s, err)
	}
	if _, err := c.Logical().DeleteWithContext(ctx, "transit/keys/orders"); err == nil || !strings.Contains(err.Error(), "deletion is not allowed") {
		t.Errorf("delete: %v", err)
	}
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.KeyOf("apps/orders").ID})
	_, err := c.Logical().WriteWithContext(ctx, "transit/decrypt/orders", map[string]any{"ciphertext": sealed})
	if e := new(vault.ResponseError); !errors.As(err, &e) || e.StatusCode != http.StatusBadRequest || !slices.Equal(e.Errors, []string{"the key is disabled"}) {
		t.Errorf("a disabled key: %v", err)
	}
	w.Propose(authority.KindKeyEnable, authority.KeyRef{ID: w.KeyOf("apps/orders").ID})
}

func useTokens(t *testing.T, w *world, c *vault.Client) {
	t.Helper()
	s, err := c.Auth().Token().LookupSelf()
	if err != nil || s.Data["display_name"] != "token-ci" {
		t.Fatalf("lookup-self: %+v, %v", s, err)
	}
	login, err := c.Logical().Write("auth/approle/login", map[string]any{"role_id": w.role.Credential.ID, "secret_id": w.role.Show})
	if err != nil || login.Auth == nil || login.Auth.LeaseDuration != 1200 || !login.Auth.Renewable {
		t.Fatalf("approle: %+v, %v", login, err)
	}
	app, err := c.Clone()
	if err != nil {
		t.Fatal(err)
	}
	app.SetToken(login.Auth.ClientToken)
	renewed, err := app.Auth().Token().RenewSelf(3600)
	if err != nil || renewed.Auth.ClientToken != login.Auth.ClientToken || renewed.Auth.LeaseDuration < 3590 {
		t.Errorf("renew: %+v, %v", renewed, err)
	}
	child, err := app.Auth().Token().Create(&vault.TokenCreateRequest{DisplayName: "terraform", TTL: "1200s", ExplicitMaxTTL: "1200s"})
	if err != nil || child.Auth.LeaseDuration != 1200 {
		t.Fatalf("create: %+v, %v", child, err)
	}
	if err := app.Auth().Token().RevokeSelf(""); err != nil {
		t.Errorf("revoke: %v", err)
	}
	for name, token := range map[string]string{"the token": login.Auth.ClientToken, "its child": child.Auth.ClientToken} {
		app.SetToken(token)
		_, err := app.Auth().Token().LookupSelf()
		if e := new(vault.ResponseError); !errors.As(err, &e) || e.StatusCode != http.StatusForbidden {
			t.Errorf("%s, revoked: %v", name, err)
		}
	}
}

func useSecrets(t *testing.T, c *vault.Client) {
	t.Helper()
	kv, ctx := c.KVv2("secret"), context.Background()
	if _, err := kv.Put(ctx, "db/password", map[string]any{"value": "hunter2"}); err != nil {
		t.Fatalf("put: %v", err)
	}
	s, err := kv.Get(ctx, "db/password")
	if err != nil || s.Data["value"] != "hunter2" || s.VersionMetadata.Version == 0 {
		t.Errorf("get: %+v, %v", s, err)
	}
	if _, err := kv.Get(ctx, "none"); !errors.Is(err, vault.ErrSecretNotFound) {
		t.Errorf("a missing secret: %v", err)
	}
}

// TestSops: sops with Vault's transit, as people configure it for Vault itself.
func TestSops(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "sops")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/getsops/sops/v3/cmd/sops").CombinedOutput(); err != nil {
		t.Fatalf("build sops: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "app.yaml")
	if err := os.WriteFile(file, []byte("password: a canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sops := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=/nowhere", "VAULT_TOKEN=" + w.token, "VAULT_CACERT=" + w.ca}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		return out.String() + errs.String(), err
	}
	if said, err := sops("--encrypt", "--in-place", "--hc-vault-transit", w.root()+"/v1/transit/keys/sops", file); err != nil {
		t.Fatalf("encrypt: %v\n%s", err, said)
	}
	sealed, _ := os.ReadFile(file)
	if !bytes.Contains(sealed, []byte("enc: vault:v1:")) || bytes.Contains(sealed, []byte("canary")) {
		t.Fatalf("%s", sealed)
	}
	if said, err := sops("--decrypt", file); err != nil || !strings.Contains(said, "password: a canary") {
		t.Errorf("decrypt: %v\n%s", err, said)
	}
	w.Propose(authority.KindEndpointDisable, authority.EndpointDisable{Name: "vault"})
	if said, err := sops("--decrypt", file); err == nil || strings.Contains(said, "canary") {
		t.Errorf("with the endpoint off: %s", said)
	}
}
