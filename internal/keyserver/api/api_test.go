// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
)

// declared is the route table that docs/api.md promises.
var declared = map[string]string{
	"GET /v1/health": "anyone", "GET /v1/ready": "anyone", "GET /v1/introduction": "anyone", "GET /v1/statement": "anyone", "GET /v1/follow": "anyone",
	"POST /v1/enroll": "anyone", "POST /v1/exchange": "workload", "GET /v1/keys": "workload", "POST /v1/use": "workload",
	"GET /v1/admin/records": "admin or recovery", "POST /v1/admin/entries": "admin or recovery", "GET /v1/admin/pending": "admin or recovery",
	"GET /v1/admin/status": "admin", "GET /v1/admin/reach": "admin",
	"GET /v1/admin/revocation": "admin", "GET /v1/admin/audit": "admin", "GET /v1/admin/audit/export": "admin",
	"POST /v1/admin/backup": "admin", "POST /v1/admin/material": "admin",
}

func foreign(t *testing.T) *tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRoutesAskForTheirCredential goes through every route with every kind of
// credential: what a route doesn't ask for never opens it.
func TestRoutesAskForTheirCredential(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	stranger := foreign(t)
	_, otherAdmin, _ := ed25519.GenerateKey(rand.Reader)
	sessionKey, session, err := authn.NewSession(r.Founded.Domain, r.Admin, time.Hour, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key ed25519.PrivateKey, session []byte, method, path string) string {
		auth, err := authn.AdminSigner{Domain: r.Founded.Domain, TLS: r.Desc.TLS, Key: key, Session: session, Clock: clock.System()}.Sign(method, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return auth
	}
	rows := api.Routes()
	if len(rows) != len(declared) {
		t.Errorf("%d routes, %d are declared", len(rows), len(declared))
	}
	for _, row := range rows {
		name := row.Method + " " + row.Path
		if declared[name] != row.Who {
			t.Errorf("%s is for %s, declared for %q", name, row.Who, declared[name])
		}
		signed := strings.HasPrefix(row.Who, "admin")
		for credential, opens := range map[string]bool{
			"none": row.Who == "anyone", "stranger's certificate": row.Who == "anyone", "certificate": !signed,
			"stranger's admin key": row.Who == "anyone", "admin": row.Who != "workload",
			"session": row.Who == "anyone" || signed && row.Method == "GET",
		} {
			c, auth := r.Client(nil), ""
			switch credential {
			case "stranger's certificate":
				c = r.Client(stranger)
			case "certificate":
				c = r.Client(app.Identity())
			case "stranger's admin key":
				auth = sign(otherAdmin, nil, row.Method, row.Path)
			case "admin":
				auth = sign(r.Admin, nil, row.Method, row.Path)
			case "session":
				auth = sign(sessionKey, session, row.Method, row.Path)
			}
			status := r.Status(c, row.Method, row.Path, auth)
			if opened := status != 401; opened != opens {
				t.Errorf("%s with %s: %d", name, credential, status)
			}
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/admin", "/metrics", "/debug/pprof/", "/v1/keys/", "/v1/../v1/health/x"} {
		if status, body := r.Do(r.Client(app.Identity()), "GET", path, nil, ""); status != 404 && status != 301 && status != 307 {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
	}
	if status, _ := r.Do(r.Client(app.Identity()), "DELETE", "/v1/keys", nil, ""); status != 404 {
		t.Errorf("another method: %d", status)
	}
}

// TestRoutesBoundBodies sends each route more than it takes, declared and not.
func TestRoutesBoundBodies(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	for _, row := range api.Routes() {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, row.Body+1))
			if chunked {
				body = io.MultiReader(body)
			}
			req, _ := http.NewRequestWithContext(t.Context(), row.Method, "https://"+r.Addr+row.Path, body)
			resp, err := r.Client(app.Identity()).Do(req)
			if err != nil {
				if row.Body < 200<<10 { // of a large body the server reads no more than it has to, and hangs up
					t.Errorf("%s: %v", row.Path, err)
				}
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != 413 {
				t.Errorf("%s, chunked %v: %d", row.Path, chunked, resp.StatusCode)
			}
		}
	}
}

// TestMalformedBodies: every decoder refuses what it doesn't know, with 400 and
// without a word of the input.
func TestMalformedBodies(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	for _, c := range []struct{ path, body string }{
		{"/v1/use", `{"items":[]}`}, {"/v1/use", `{"items":[{"op":"encrypt","key":"k"}],"more":1}`}, {"/v1/use", `{"items":[{"op":"encrypt","key":"k"}]} x`},
		{"/v1/use", `[]`}, {"/v1/use", ``}, {"/v1/use", `{"items":[` + strings.Repeat(`{"op":"sign"},`, 256) + `{"op":"sign"}]}`},
		{"/v1/exchange", "secret-canary"}, {"/v1/exchange", ""}, {"/v1/enroll", "secret-canary"},
	} {
		status, body := r.Do(r.Client(app.Identity()), "POST", c.path, []byte(c.body), "")
		if status != 400 || bytes.Contains(body, []byte("canary")) {
			t.Errorf("%s %.40s: %d %s", c.path, c.body, status, body)
		}
	}
	status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/use", []byte(`{"items":[{"op":"fly","key":"k"},{"op":"encrypt","key":"NO SUCH NAME"}]}`), "")
	if status != 200 || strings.Count(string(body), `"malformed"`) != 2 {
		t.Errorf("bad items: %d %s", status, body)
	}
	for _, path := range []string{"/v1/admin/records?from=x", "/v1/admin/audit?log=99", "/v1/admin/audit?n=-1"} {
		if status, body := r.AsAdmin("GET", path, nil); status != 400 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := r.AsAdmin("POST", "/v1/admin/entries", []byte("x")); status != 400 {
		t.Errorf("entries: %d %s", status, body)
	}
}

// TestRoutesAcceptTheirOwnMessages: an enrolment route takes no key requests,
// and the other way round.
func TestRoutesAcceptTheirOwnMessages(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	sealed, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
	if status, body := r.Do(r.Client(nil), "POST", "/v1/enroll", sealed, ""); status != 400 {
		t.Errorf("a key request at the enrolment route: %d %s", status, body)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	inv := r.Invite("app2", time.Hour)
	enrolment, _ := r.Enrolment(inv, key, inv.Seed, key)
	if status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/exchange", enrolment, ""); status != 400 {
		t.Errorf("an enrolment at the exchange route: %d %s", status, body)
	}
}

// TestAdminRequestsWorkOnce: a copy of a signed admin request is refused, and a
// session's signature changes nothing.
func TestAdminRequestsWorkOnce(t *testing.T) {
	r := keyservertest.New(t)
	auth, err := authn.AdminSigner{Domain: r.Founded.Domain, TLS: r.Desc.TLS, Key: r.Admin, Clock: clock.System()}.Sign("GET", "/v1/admin/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.Do(r.Client(nil), "GET", "/v1/admin/status", nil, auth); status != 200 {
		t.Fatalf("status: %d %s", status, body)
	}
	if status, _ := r.Do(r.Client(nil), "GET", "/v1/admin/status", nil, auth); status != 401 {
		t.Errorf("a repeated admin request: %d", status)
	}
	sessionKey, session, err := authn.NewSession(r.Founded.Domain, r.Admin, time.Hour, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	entry, err := r.Replay().Entry(authority.KindRevokeAll, authority.Subject{Reason: "test"}, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		t.Fatal(err)
	}
	signer := authn.AdminSigner{Domain: r.Founded.Domain, TLS: r.Desc.TLS, Key: sessionKey, Session: session, Clock: clock.System()}
	for path, data := range map[string][]byte{"/v1/admin/entries": entry, "/v1/admin/backup": nil, "/v1/admin/material": make([]byte, 32)} {
		auth, err := signer.Sign("POST", path, data)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := r.Do(r.Client(nil), "POST", path, data, auth); status != 401 && status != 403 {
			t.Errorf("%s by a session: %d %s", path, status, body)
		}
	}
	if r.Replay().Revoked {
		t.Error("a session changed the state")
	}
}

// TestErrorsTellNoPaths: what goes wrong inside is for the log.
func TestErrorsTellNoPaths(t *testing.T) {
	r := keyservertest.New(t)
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, row := range api.Routes() {
		status, body := r.Do(r.Client(nil), row.Method, row.Path, nil, "")
		if row.Path == "/v1/health" {
			if status != 200 || !bytes.Contains(body, []byte(`"sealed"`)) {
				t.Errorf("health of a sealed server: %d %s", status, body)
			}
			continue
		}
		var e struct {
			Error struct {
				Code      string
				Retryable bool
			}
		}
		if json.Unmarshal(body, &e) != nil || status != 503 || e.Error.Code != "sealed" || !e.Error.Retryable || bytes.Contains(body, []byte(r.Dir)) {
			t.Errorf("%s sealed: %d %s", row.Path, status, body)
		}
	}
}

// TestTLS: version 1.3, the key of the descriptor, and nothing older.
func TestTLS(t *testing.T) {
	r := keyservertest.New(t)
	c, err := tls.Dial("tcp", r.Addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		c.Close()
		t.Error("TLS 1.2 is accepted")
	}
	before := r.Desc.TLS
	r.Restart()
	if r.Desc.TLS == before {
		t.Error("the TLS key outlives a restart")
	}
}

// TestSheddingLoad: with all places taken, key requests are told to come later
// while admins and health still get through.
func TestSheddingLoad(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	sealed, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
	free := fillWork(t, r)
	for path, body := range map[string][]byte{"/v1/exchange": sealed, "/v1/use": []byte(`{"items":[{"op":"encrypt","key":"k"}]}`)} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+r.Addr+path, bytes.NewReader(body))
		resp, err := r.Client(app.Identity()).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s under load: %d, Retry-After %q", path, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	if status, _ := r.AsAdmin("GET", "/v1/admin/status", nil); status != 200 {
		t.Errorf("an admin under load: %d", status)
	}
	free()
	if status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/exchange", sealed, ""); status != 200 {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// TestMetrics: served apart, named as documented, and no label holds what a
// caller chose.
func TestMetrics(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("payments/cards", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(keyservertest.AllowApp1)
	r.Release(app, "payments/cards", "encrypt")
	r.Do(r.Client(nil), "GET", "/v1/canary", nil, "")
	entry, _ := r.Replay().Entry("canary.kind", authority.Subject{Client: "canary"}, time.Now().Add(time.Hour), r.Admin)
	r.AsAdmin("POST", "/v1/admin/entries", entry)
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + r.Metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	_, text := get("/metrics")
	for _, never := range []string{"payments", "cards", "app1", "spiffe", "canary", r.Dir} {
		if strings.Contains(text, never) {
			t.Errorf("metrics hold %q", never)
		}
	}
	if !strings.Contains(text, `action="propose"`) || strings.Contains(text, `action="key.create"`) {
		t.Error("changes that people bring are not counted as one action")
	}
	if !strings.Contains(text, `claviger_decisions_total{action="release",decision="allowed"} 1`) {
		t.Error("the release is not counted")
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`(claviger_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		documented[name[1]] = true
	}
	for name := range r.Server.MetricNames() {
		if strings.HasPrefix(name, "claviger_") && !documented[name] {
			t.Errorf("%s is not in docs/api.md", name)
		}
		delete(documented, name)
	}
	// No alarm yet, no relay, and no port of doors: package gateway holds its own.
	for _, none := range []string{"alarms_total", "relay_connected", "relay_exchanges_total", "relay_reconnects_total", "door_requests_total", "door_seconds"} {
		delete(documented, "claviger_"+none)
	}
	for name := range documented {
		t.Errorf("docs/api.md names %s, which is not there", name)
	}
	for name, who := range declared {
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(name) + "` \\| ([a-z, ]+)").FindStringSubmatch(string(doc))
		said := map[string]string{"workload": "certificate", "admin or recovery": "admin, recovery"}[who]
		if row == nil || strings.TrimSpace(row[1]) != cmp.Or(said, who) {
			t.Errorf("docs/api.md has %q for %s, which is for %s", row, name, who)
		}
	}
	if status, _ := get("/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := get("/readyz"); status != 503 {
		t.Errorf("readyz of a sealed server: %d", status)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("healthz of a sealed server: %d", status)
	}
}

// fillWork takes every place for requests with public-key work, and returns what
// gives them back.
func fillWork(t *testing.T, r *keyservertest.Rig) (free func()) {
	t.Helper()
	var leave []func()
	err := r.Server.With(t.Context(), func(_ context.Context, c *keyserver.Core) error {
		for {
			l, err := c.Admit()
			if err != nil {
				return nil
			}
			leave = append(leave, l)
		}
	})
	if err != nil || len(leave) == 0 {
		t.Fatalf("%d places taken: %v", len(leave), err)
	}
	return func() {
		for _, l := range leave {
			l()
		}
	}
}
