// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/authn/clientcert"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/vaultapi/auth"
	"claviger/internal/keyserver/tokenbook"
	"claviger/internal/secret"
)

// TestStrangersAndNamespaces: at the root the namespace chooses the endpoint, and a
// token holds at its own alone.
func TestStrangersAndNamespaces(t *testing.T) {
	for path, header := range map[string]struct {
		namespace, want string
		mine            bool
	}{
		"/v1/sys/health": {"", "", true}, "/v1/transit/keys/k": {"team-a/", "team-a", true}, "/other": {"team-a", "", false}, "/v1": {"", "", false},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://localhost"+path, nil)
		r.Header.Set("X-Vault-Namespace", header.namespace)
		if got, mine := root(r); got != header.want || mine != header.mine {
			t.Errorf("%s: %q, %t", path, got, mine)
		}
	}
	k := &client{}
	r := serve(t, k, `permit(principal in Endpoint::"door", action, resource);`)
	other := r.Endpoint
	other.Name, other.Credentials = "other", nil
	foreign := keep(r, &other, auth.UseToken, "ci").Show
	keep(r, &other, "", "")
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: other})
	if status, _ := ask(r, foreign, "GET", "/auth/token/lookup-self", ""); status != http.StatusForbidden {
		t.Errorf("another endpoint's token: %d", status)
	}
	if status, _ := ask(r, k.token, "GET", "/auth/token/lookup-self", ""); status != http.StatusOK {
		t.Errorf("its own: %d", status)
	}
}

// TestLoginCert: a client is known by the certificate that it shows in the handshake,
// at an endpoint with roots and a host of its own.
func TestLoginCert(t *testing.T) {
	caKey, ca := authorityCert(t)
	cert := leaf(t, caKey, ca)
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	id := clientcert.Identity(parsed).String()
	k := &client{}
	s := k.suite()
	s.Endpoint.Name, s.Endpoint.Kind, s.Cases = "door", name, nil
	s.Endpoint.Host, s.Endpoint.ClientCAs = "vault.example.com", [][]byte{ca.Raw}
	s.Endpoint.Options = append([]authority.Tag{
		gatewaytest.Tag("role.machine", "cert;claim.certificate="+id+";ttl=5m"), gatewaytest.Tag("role.nobody", "cert;claim.certificate=00"),
	}, s.Endpoint.Options[1:]...)
	s.Cert = func(*gatewaytest.Rig) *tls.Certificate { return cert }
	r := gatewaytest.New(t, &s)
	r.Allow(`permit(principal == Subject::"door:cert:` + id + `", action, resource) when { principal has certificate && principal.certificate == "` + id + `" };`)
	status, out := ask(r, "", "POST", "/auth/cert/login", `{"name":"machine"}`)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, out)
	}
	token, _ := out["auth"].(map[string]any)["client_token"].(string)
	if status, out := ask(r, token, "POST", "/transit/encrypt/k", `{"plaintext":"aGk="}`); status != http.StatusOK {
		t.Errorf("%d %v", status, out)
	}
	if status, _ := ask(r, "", "POST", "/auth/cert/login", `{"name":"nobody"}`); status != http.StatusBadRequest {
		t.Errorf("a role for another certificate: %d", status)
	}
}

func authorityCert(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.System().Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "roots"}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 2),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, ca
}

func leaf(t *testing.T, caKey *ecdsa.PrivateKey, ca *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.System().Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "machine"}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 1),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRevocationLasts: what was revoked stays so when the server is sealed and opened
// again, and doors are made anew; each step leaves its leaf.
func TestRevocationLasts(t *testing.T) {
	k := &client{}
	r := serve(t, k, `permit(principal in Endpoint::"door", action, resource);`)
	revoked, kept := k.login(r), k.login(r)
	if status, _ := ask(r, revoked, "POST", "/auth/token/revoke-self", ""); status != http.StatusNoContent {
		t.Fatalf("revoke: %d", status)
	}
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(r, kept, "GET", "/auth/token/lookup-self", ""); status != http.StatusServiceUnavailable {
		t.Errorf("sealed: %d", status)
	}
	if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
		t.Fatal(err)
	}
	r.Introduce()
	if status, _ := ask(r, revoked, "GET", "/auth/token/lookup-self", ""); status != http.StatusForbidden {
		t.Errorf("after a restart: %d", status)
	}
	if status, _ := ask(r, kept, "GET", "/auth/token/lookup-self", ""); status != http.StatusOK {
		t.Errorf("the other one, after a restart: %d", status)
	}
	if r.Leaves(tokenbook.Issue) != 2 || r.Leaves(tokenbook.Revoke) != 2 {
		t.Errorf("%d, %d leaves", r.Leaves(tokenbook.Issue), r.Leaves(tokenbook.Revoke))
	}
	// The subject is revoked in the authority log: its tokens are of no use at once.
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: "door:approle:app"})
	if status, _ := ask(r, kept, "POST", "/transit/encrypt/k", `{"plaintext":"aGk="}`); status != http.StatusForbidden {
		t.Errorf("a revoked subject encrypts: %d", status)
	}
	if status, _ := ask(r, "", "POST", "/auth/approle/login", `{"role_id":"`+k.role.Credential.ID+`","secret_id":"`+k.shown+`"}`); status != http.StatusForbidden {
		t.Errorf("a revoked subject logs in: %d", status)
	}
}

// TestBatches: more items than go together at once come back in order, each with what
// is its own.
func TestBatches(t *testing.T) {
	k := &client{}
	r := serve(t, k, `permit(principal in Endpoint::"door", action, resource) unless { context has partition && context.partition == "bad" };`)
	var b strings.Builder
	const n = 100
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		part := "YQ=="
		if i == 70 {
			part = b64([]byte("bad")) // which policy forbids
		}
		b.WriteString(`{"plaintext":"aGk=","context":"` + part + `","reference":"` + strings.Repeat("r", i) + `"}`)
	}
	status, out := ask(r, k.token, "POST", "/transit/encrypt/tenant-x", `{"batch_input":[`+b.String()+`],"partial_failure_response_code":207}`)
	results, _ := out["data"].(map[string]any)["batch_results"].([]any)
	if status != http.StatusMultiStatus || len(results) != n {
		t.Fatalf("%d, %d results", status, len(results))
	}
	for i, x := range results {
		one := x.(map[string]any)
		_, sealed := one["ciphertext"]
		if one["reference"] != strings.Repeat("r", i) || sealed == (i == 70) || (i == 70) != (one["error"] == "permission denied") {
			t.Errorf("%d: %v", i, one)
		}
	}
}

func TestRecordsThatDontFit(t *testing.T) {
	good := func() *authority.Endpoint {
		made, err := auth.Credential("", "ci")
		if err != nil {
			t.Fatal(err)
		}
		return &authority.Endpoint{Name: "v", Kind: name, Credentials: []authority.Credential{made.Credential}}
	}
	kinds := gateway.Kinds{Kind()}
	if err := kinds.Check(good()); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*authority.Endpoint){
		"no credential":      func(e *authority.Endpoint) { e.Credentials = nil },
		"an unknown setting": func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "folder", Value: "a/"}} },
		"mounts that meet":   func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "kv.transit", Value: "a"}} },
		"a mount over sys":   func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "transit.mount", Value: "sys"}} },
		"a mount in another": func(e *authority.Endpoint) {
			e.Options = []authority.Tag{{Name: "kv.a", Value: "b"}, {Name: "transit.mount", Value: "a/t"}}
		},
		"no mount":              func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "transit.mount", Value: "/"}} },
		"a role without a key":  func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "role.a", Value: "approle"}} },
		"a secret without key":  func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "kv.secret", Value: "A B"}} },
		"a prefix that is none": func(e *authority.Endpoint) { e.Options = []authority.Tag{{Name: "transit.prefix", Value: "//"}} },
	} {
		e := good()
		if change(e); !errors.Is(kinds.Check(e), gateway.ErrEndpoint) {
			t.Errorf("%s: %v", what, kinds.Check(e))
		}
	}
}

// TestProbe: the steps that endpoint test takes, with what a user was given.
func TestProbe(t *testing.T) {
	k := &client{}
	r := serve(t, k, `permit(principal in Endpoint::"door", action, resource);`)
	token := gateway.Secret{Credential: authority.Credential{Use: auth.UseToken}, Show: k.token, Material: secret.New(1)}
	target := gateway.ProbeTarget{
		Site: gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()}, Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "k",
	}
	for what, with := range map[string]*gateway.Secret{"nothing": nil, "a token": &token, "a role": &k.role} {
		target.Secret = with
		checks := Kind().Probe(t.Context(), target)
		if want := map[bool]int{true: 4, false: 7}[with == nil]; len(checks) != want {
			t.Errorf("%s: %d steps", what, len(checks))
		}
		for _, c := range checks {
			if c.Err != nil {
				t.Errorf("%s: %s: %v", what, c.Name, c.Err)
			}
		}
	}
	r.Allow("forbid(principal, action, resource);")
	if checks := Kind().Probe(t.Context(), target); checks[len(checks)-1].Err == nil {
		t.Error("passes without a policy")
	}
}

// TestGuide: it names every secret, and where it goes.
func TestGuide(t *testing.T) {
	var made []gateway.Secret
	for use, subject := range map[string]string{auth.UseToken: "ci", auth.UseAppRole: "app", auth.UseKey: ""} {
		s, err := auth.Credential(use, subject)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, s)
	}
	text := guide(gateway.Site{Endpoint: authority.Endpoint{Name: "v"}, Base: "https://h:8445/v"}, made)
	for _, s := range made {
		if s.Show != "" && !strings.Contains(text, s.Show) {
			t.Errorf("the guide doesn't hold the %s", s.Credential.Use)
		}
	}
	for _, want := range []string{"VAULT_ADDR=https://h:8445/v", "VAULT_NAMESPACE=v", "https://h:8445/v1/transit/keys/NAME", `Subject::"v:`} {
		if !strings.Contains(text, want) {
			t.Errorf("the guide doesn't say %s", want)
		}
	}
}
