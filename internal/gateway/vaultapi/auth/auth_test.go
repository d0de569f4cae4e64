// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/oidc"
	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/tokenbook"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// world is a key server's part of a door: materials, the token book, a clock.
type world struct {
	t         *testing.T
	clock     *clock.Manual
	materials map[wire.Hash][]byte
	book      tokenbook.Book
	broken    error // what the choke point answers
	marks     []string
	record    authority.Endpoint
	key       ed25519.PrivateKey
	shown     map[string]string // by subject
	ids       map[string]string
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, clock: clock.NewManual(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)), materials: map[wire.Hash][]byte{},
		book:   tokenbook.Book{Store: store.NewMem(), Seal: secret.Random(32), Domain: wire.DomainID{1}},
		record: authority.Endpoint{Name: "vault", Kind: "vault"}, shown: map[string]string{}, ids: map[string]string{},
	}
	_, w.key, _ = ed25519.GenerateKey(nil)
	w.add("", "")
	w.add(UseToken, "ci")
	w.add(UseAppRole, "app")
	w.record.Issuers = []authority.Issuer{
		{URL: "https://id.example", Audience: "vault", Use: "jwt"}, {URL: "https://kubernetes.default", Audience: "vault", Use: "kubernetes"},
	}
	w.record.Options = []authority.Tag{
		{Name: "role.app", Value: "approle;ttl=20m;max-ttl=2h"},
		{Name: "role.deploy", Value: "jwt;claim.sub=repo:acme/*;claim.environment=prod;ttl=10m;policies=ops"},
		{Name: "role.every", Value: "kubernetes;claim.sub=*"},
		{Name: "role.pods", Value: "kubernetes;claim.namespace=shop;claim.namespace=pay;claim.service-account=web*"},
	}
	return w
}

func (w *world) add(use, subject string) {
	w.t.Helper()
	made, err := Credential(use, subject)
	if err != nil {
		w.t.Fatal(err)
	}
	data := slices.Clone(made.Material.Expose())
	made.Credential.Material = endpoints.MaterialHash(data)
	w.materials[made.Credential.Material] = data
	w.record.Credentials = append(w.record.Credentials, made.Credential)
	w.shown[subject], w.ids[subject] = made.Show, made.Credential.ID
}

// door makes the Auth of the record as it is now.
func (w *world) door() *Auth {
	w.t.Helper()
	public := base64.RawURLEncoding.EncodeToString(w.key.Public().(ed25519.PublicKey))
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"1","x":%q}]}`, public)
	a, err := New(gateway.Site{
		Endpoint: w.record, Clock: w.clock, Logger: slog.New(slog.DiscardHandler),
		Material: func(_ context.Context, h wire.Hash) (*secret.Bytes, error) {
			if w.materials[h] == nil {
				return nil, errors.New("no such material")
			}
			return secret.Take(slices.Clone(w.materials[h])), nil
		},
		Tokens: func(ctx context.Context) (*tokenbook.Page, error) { return w.book.Read(ctx, "vault") },
		Do: func(ctx context.Context, c *authn.Caller, op keyserver.Op) (keyserver.Answer, error) {
			if w.broken != nil {
				return nil, w.broken
			}
			m := op.(*keyserver.Token).Mark
			w.marks = append(w.marks, m.Action+" "+c.ID)
			return &keyserver.Done{}, w.book.Mark(ctx, "vault", c.ID, m, w.clock.Now())
		},
	}, Options{OIDC: func(o *oidc.Options) {
		for i := range o.Issuers {
			o.Issuers[i].Keys = []byte(set)
		}
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// jwt signs a token of an issuer's.
func (w *world) jwt(claims map[string]any) string {
	part := func(v any) string { text, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(text) }
	all := map[string]any{"iss": "https://id.example", "aud": "vault", "exp": w.clock.Now().Add(time.Minute).Unix(), "iat": w.clock.Now().Unix()}
	for name, v := range claims {
		all[name] = v
	}
	signed := part(map[string]string{"alg": "EdDSA", "kid": "1", "typ": "JWT"}) + "." + part(all)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(w.key, []byte(signed)))
}

// ask makes a request to a route.
func (w *world) ask(a *Auth, route, token string, body any) (*call.Reply, error) {
	w.t.Helper()
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	r, _ := http.NewRequestWithContext(w.t.Context(), "POST", "https://localhost/v1", nil)
	r.Header.Set("X-Vault-Token", token)
	c := &call.Call{Request: &gateway.Request{Request: r, Body: text}}
	for _, x := range a.Routes() {
		if x.Name != "auth-"+route {
			continue
		}
		if !x.Open {
			var err error
			if c.Caller, c.Token, err = a.Authenticate(w.t.Context(), c.Request); err != nil {
				return nil, err
			}
		}
		return x.Handle(w.t.Context(), c)
	}
	w.t.Fatalf("no route %s", route)
	return nil, nil
}

// token expects a new token.
func (w *world) token(a *Auth, route, token string, body any) granted {
	w.t.Helper()
	reply, err := w.ask(a, route, token, body)
	if err != nil {
		w.t.Fatalf("%s: %v", route, err)
	}
	if !reply.Secret {
		w.t.Errorf("%s: the answer's bytes stay", route)
	}
	return reply.Auth.(granted)
}

func (w *world) approle(a *Auth) granted {
	w.t.Helper()
	return w.token(a, "approle-login", "", map[string]string{"role_id": w.ids["app"], "secret_id": w.shown["app"]})
}

// who says whom a token names, "" for nobody.
func (w *world) who(a *Auth, token string) string {
	w.t.Helper()
	t, err := a.verify(w.t.Context(), token)
	if err != nil {
		if !errors.Is(err, authn.ErrRefused) && !errors.Is(err, authn.ErrRevoked) {
			w.t.Errorf("another error: %v", err)
		}
		return ""
	}
	return t.Caller.ID
}

func TestLogins(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	pod := func(sub string) map[string]any {
		return map[string]any{"role": "pods", "jwt": w.jwt(map[string]any{"iss": "https://kubernetes.default", "sub": "system:serviceaccount:" + sub})}
	}
	github := func(role string, more map[string]any) map[string]any {
		claims := map[string]any{"sub": "repo:acme/app", "environment": "prod"}
		for name, v := range more {
			claims[name] = v
		}
		return map[string]any{"role": role, "jwt": w.jwt(claims)}
	}
	for name, tc := range map[string]struct {
		route string
		body  any
		who   string // "": refused
		lease int64
	}{
		"approle":                      {"approle-login", map[string]any{"role_id": w.ids["app"], "secret_id": w.shown["app"]}, "vault:approle:app", 1200},
		"approle, another secret":      {"approle-login", map[string]any{"role_id": w.ids["app"], "secret_id": w.shown["app"] + "x"}, "", 0},
		"approle, no secret":           {"approle-login", map[string]any{"role_id": w.ids["app"]}, "", 0},
		"a token's secret as approle":  {"approle-login", map[string]any{"role_id": w.ids["ci"], "secret_id": w.shown["ci"]}, "", 0},
		"jwt":                          {"jwt-login", github("deploy", nil), "vault:jwt:repo:acme/app", 600},
		"jwt, the only role":           {"jwt-login", github("", nil), "vault:jwt:repo:acme/app", 600},
		"jwt, another subject":         {"jwt-login", github("deploy", map[string]any{"sub": "repo:evil/app"}), "", 0},
		"jwt, another claim":           {"jwt-login", github("deploy", map[string]any{"environment": "test"}), "", 0},
		"jwt, a list with the claim":   {"jwt-login", github("deploy", map[string]any{"environment": []string{"test", "prod"}}), "vault:jwt:repo:acme/app", 600},
		"jwt, no such claim":           {"jwt-login", github("deploy", map[string]any{"environment": nil}), "", 0},
		"jwt, another audience":        {"jwt-login", github("deploy", map[string]any{"aud": "other"}), "", 0},
		"jwt, another issuer":          {"jwt-login", github("deploy", map[string]any{"iss": "https://kubernetes.default"}), "", 0},
		"jwt, ended":                   {"jwt-login", github("deploy", map[string]any{"exp": w.clock.Now().Add(-time.Hour).Unix()}), "", 0},
		"jwt, no role":                 {"jwt-login", github("none", nil), "", 0},
		"jwt, a role of kubernetes":    {"jwt-login", github("pods", nil), "", 0},
		"jwt, a broad role of another": {"jwt-login", github("every", nil), "", 0},
		"jwt, none":                    {"jwt-login", map[string]any{"role": "deploy"}, "", 0},
		"kubernetes":                   {"kubernetes-login", pod("shop:web-1"), "vault:kubernetes:shop/web-1", 3600},
		"kubernetes, another space":    {"kubernetes-login", pod("dev:web-1"), "", 0},
		"kubernetes, another account":  {"kubernetes-login", pod("shop:db"), "", 0},
		"kubernetes, a third part":     {"kubernetes-login", pod("shop:web:x"), "", 0},
		"kubernetes, no account":       {"kubernetes-login", pod("shop"), "", 0},
		"cert without a certificate":   {"cert-login", map[string]any{}, "", 0},
	} {
		reply, err := w.ask(a, tc.route, "", tc.body)
		if tc.who == "" {
			if e, ok := errors.AsType[*call.Error](err); !ok || e.Status != 400 && e.Status != 403 {
				t.Errorf("%s: %v, %v", name, reply, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		g := reply.Auth.(granted)
		if got := w.who(a, g.Text); got != tc.who || g.Lease != tc.lease || !g.Orphan {
			t.Errorf("%s: %s for %d s", name, got, g.Lease)
		}
	}
	if !slices.Contains(w.marks, "token:issue vault:jwt:repo:acme/app") {
		t.Errorf("%v", w.marks)
	}
}

// TestNothingUnrecorded: a token that the choke point doesn't record isn't given.
func TestNothingUnrecorded(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	login := w.approle(a)
	w.broken = keyserver.ErrUnavailable
	for route, body := range map[string]any{
		"approle-login": map[string]string{"role_id": w.ids["app"], "secret_id": w.shown["app"]}, "create": nil, "renew-self": nil, "revoke-self": nil,
	} {
		if reply, err := w.ask(a, route, login.Text, body); !errors.Is(err, keyserver.ErrUnavailable) || reply != nil {
			t.Errorf("%s: %v, %v", route, reply, err)
		}
	}
}

func TestTokensLive(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	login := w.approle(a)
	other := w.door() // another server's
	if w.who(other, login.Text) != "vault:approle:app" || w.who(other, w.shown["ci"]) != "vault:token:ci" {
		t.Fatal("another server takes other tokens")
	}
	for name, bad := range map[string]string{"nothing": "", "a foreign one": "hvs.CAES", "changed": login.Text + "A", "a given one, changed": w.shown["ci"][:len(w.shown["ci"])-2] + "AA"} {
		if who := w.who(a, bad); who != "" {
			t.Errorf("%s: %s", name, who)
		}
	}
	w.clock.Advance(20 * time.Minute)
	if w.who(a, login.Text) != "" {
		t.Error("it outlives its end")
	}
	// Renewed in time it goes on, on every server, until its maximum.
	login = w.approle(a)
	w.clock.Advance(15 * time.Minute)
	renewed := w.token(a, "renew-self", login.Text, map[string]any{"increment": 3600})
	if renewed.Text != login.Text || renewed.Lease != 3600 {
		t.Errorf("%+v", renewed)
	}
	w.clock.Advance(30 * time.Minute)
	if w.who(a, login.Text) == "" || w.who(other, login.Text) == "" {
		t.Error("a renewal isn't known")
	}
	if again := w.token(a, "renew", login.Text, map[string]any{"token": login.Text, "increment": "99h"}); again.Lease != int64((75 * time.Minute).Seconds()) {
		t.Errorf("renewed to %d s", again.Lease)
	}
	w.clock.Advance(76 * time.Minute)
	if w.who(a, login.Text) != "" {
		t.Error("it outlives its maximum")
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	a, other := w.door(), w.door()
	login := w.approle(a)
	child := w.token(a, "create", login.Text, map[string]any{"ttl": "5m"})
	grandchild := w.token(a, "create", child.Text, map[string]any{"policies": []string{"default"}})
	if child.Lease != 300 || grandchild.Orphan || w.who(other, grandchild.Text) != "vault:approle:app" {
		t.Fatalf("%+v, %+v", child, grandchild)
	}
	stranger := w.token(a, "jwt-login", "", map[string]any{"role": "deploy", "jwt": w.jwt(map[string]any{"sub": "repo:acme/x", "environment": "prod"})})
	for _, route := range []string{"revoke", "lookup", "renew"} {
		_, err := w.ask(a, route, stranger.Text, map[string]any{"token": child.Text})
		if e, ok := errors.AsType[*call.Error](err); !ok || e.Status != 403 {
			t.Errorf("%s of another's token: %v", route, err)
		}
	}
	if _, err := w.ask(a, "revoke", login.Text, map[string]any{"token": child.Text}); err != nil {
		t.Fatal(err)
	}
	if w.who(a, child.Text) != "" || w.who(a, grandchild.Text) != "" || w.who(a, login.Text) == "" {
		t.Error("a token is revoked with those that came of it, and alone")
	}
	w.clock.Advance(pageLife)
	if w.who(other, child.Text) != "" || w.who(other, grandchild.Text) != "" || w.who(w.door(), child.Text) != "" {
		t.Error("another server, or the next run, still takes it")
	}
	// A store that loses the page revives nothing at a server that runs.
	w.book.Store = store.NewMem()
	w.clock.Advance(pageLife)
	if w.who(a, child.Text) != "" || w.who(other, grandchild.Text) != "" {
		t.Error("revived by the store")
	}
	if _, err := w.ask(a, "revoke-self", w.shown["ci"], nil); err == nil {
		t.Error("a token that a person was given is revoked by a request")
	}
}

// TestBook: without the token book nothing is known of a token.
func TestBook(t *testing.T) {
	w := newWorld(t)
	login := w.approle(w.door())
	away := errors.New("the store is away")
	w.book.Store = failing{w.book.Store, away}
	if _, err := w.door().verify(t.Context(), login.Text); !errors.Is(err, away) {
		t.Error(err)
	}
}

type failing struct {
	store.Slots
	err error
}

// Get fails.
func (f failing) Get(context.Context, string) ([]byte, uint64, error) { return nil, 0, f.err }

// TestCredentialGone: what came by a credential goes with it, and tokens with their
// key.
func TestCredentialGone(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	login, child := w.approle(a), w.token(a, "create", w.shown["ci"], nil)
	if w.who(a, child.Text) != "vault:token:ci" {
		t.Fatal("no child of a given token")
	}
	all := slices.Clone(w.record.Credentials)
	for use, gone := range map[string][]string{UseToken: {child.Text, w.shown["ci"]}, UseAppRole: {login.Text}, UseKey: {child.Text, login.Text}} {
		w.record.Credentials = slices.DeleteFunc(slices.Clone(all), func(c authority.Credential) bool { return c.Use == use })
		if use == UseKey {
			w.add("", "") // another one
		}
		for _, token := range gone {
			if who := w.who(w.door(), token); who != "" {
				t.Errorf("without the %s: %s", use, who)
			}
		}
	}
	// A second key beside the first: both count.
	w.record.Credentials = slices.Clone(all)
	w.add("", "")
	if w.who(w.door(), login.Text) == "" || w.who(w.door(), w.approle(w.door()).Text) == "" {
		t.Error("while the key is rotated")
	}
}

// TestLoginGone: a token of a login ends with the role by which it came, and with
// the issuer that spoke for its holder.
func TestLoginGone(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	of := func(route, role, iss, sub string) string {
		claims := map[string]any{"iss": iss, "sub": sub, "environment": "prod"}
		return w.token(a, route, "", map[string]any{"role": role, "jwt": w.jwt(claims)}).Text
	}
	jwt := of("jwt-login", "deploy", "https://id.example", "repo:acme/app")
	pod := of("kubernetes-login", "pods", "https://kubernetes.default", "system:serviceaccount:shop:web-1")
	child := w.token(a, "create", jwt, nil).Text
	issuers, options := w.record.Issuers, w.record.Options
	with := func(is []authority.Issuer, o []authority.Tag) *Auth {
		w.record.Issuers, w.record.Options = is, o
		return w.door()
	}
	but := func(name, value string) []authority.Tag {
		out := slices.DeleteFunc(slices.Clone(options), func(o authority.Tag) bool { return o.Name == name })
		if value != "" {
			out = append(out, authority.Tag{Name: name, Value: value})
		}
		return out
	}
	elsewhere := []authority.Issuer{{URL: "https://other.example", Audience: "vault", Use: "jwt"}, issuers[1]}
	for name, tc := range map[string]struct {
		a        *Auth
		jwt, pod bool
	}{
		"as it was":           {with(issuers, options), true, true},
		"no issuer of jwt":    {with(issuers[1:], options), false, true},
		"another issuer":      {with(elsewhere, options), false, true},
		"no role deploy":      {with(issuers, but("role.deploy", "")), false, true},
		"of another method":   {with(issuers, but("role.deploy", "kubernetes;claim.sub=*")), false, true},
		"no role of the pods": {with(issuers, but("role.pods", "")), true, false},
		"a role beside it":    {with(issuers, append(slices.Clone(options), authority.Tag{Name: "role.z", Value: "jwt;claim.sub=*"})), true, true},
	} {
		for token, want := range map[string]bool{jwt: tc.jwt, child: tc.jwt, pod: tc.pod} {
			if who := w.who(tc.a, token); (who != "") != want {
				t.Errorf("%s: it holds as %q, want %v", name, who, want)
			}
		}
	}
}

func TestChildren(t *testing.T) {
	w := newWorld(t)
	a := w.door()
	login := w.approle(a)
	for name, body := range map[string]map[string]any{
		"more policies": {"policies": []string{"root"}}, "an id": {"id": "x"}, "no parent": {"no_parent": true}, "a period": {"period": "1h"},
		"uses": {"num_uses": 1}, "a batch token": {"type": "batch"}, "an alias": {"entity_alias": "x"},
	} {
		if _, err := w.ask(a, "create", login.Text, body); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	long := w.token(a, "create", login.Text, map[string]any{"ttl": "999h", "explicit_max_ttl": "99h"})
	if long.Lease > int64((2 * time.Hour).Seconds()) {
		t.Errorf("a child that lives for %d s", long.Lease)
	}
	if fixed := w.token(a, "create", login.Text, map[string]any{"renewable": false, "ttl": 60}); fixed.Renewable || fixed.Lease != 60 {
		t.Errorf("%+v", fixed)
	}
	token := login.Text
	for range maxDepth {
		token = w.token(a, "create", token, nil).Text
	}
	if _, err := w.ask(a, "create", token, nil); err == nil {
		t.Error("ancestors without end")
	}
}

func TestRecords(t *testing.T) {
	for name, change := range map[string]func(*authority.Endpoint){
		"two issuers of one use": func(e *authority.Endpoint) {
			e.Issuers = append(e.Issuers, authority.Issuer{URL: "https://b", Audience: "vault", Use: "jwt"})
		},
		"no audience":               func(e *authority.Endpoint) { e.Issuers[0].Audience = "" },
		"another use of an issuer":  func(e *authority.Endpoint) { e.Issuers[0].Use = "x" },
		"another use":               func(e *authority.Endpoint) { e.Credentials[1].Use = "x" },
		"a subject with a colon":    func(e *authority.Endpoint) { e.Credentials[1].Subject = "a:b" },
		"no key":                    func(e *authority.Endpoint) { e.Credentials = e.Credentials[1:] },
		"a role that admits all":    role1("jwt"),
		"a role of no method":       role1("ldap;claim.sub=x"),
		"a role without a value":    role1("jwt;claim.sub"),
		"a role with another":       role1("jwt;claim.sub=x;y=z"),
		"a role longer than it may": role1("jwt;claim.sub=x;ttl=2h;max-ttl=1h"),
		"a role for a second":       role1("jwt;claim.sub=x;ttl=1s"),
		"an approle of another":     option("role.app", "jwt;claim.sub=x"),
		"a ttl that is none":        option("token.ttl", "soon"),
		"a ttl beyond its maximum":  option("token.ttl", "200h"),
	} {
		w := newWorld(t)
		if Check(&w.record) != nil {
			t.Fatal("the record is not good to begin with")
		}
		change(&w.record)
		if Check(&w.record) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func role1(value string) func(*authority.Endpoint) { return option("role.deploy", value) }

func option(name, value string) func(*authority.Endpoint) {
	return func(e *authority.Endpoint) {
		e.Options = slices.DeleteFunc(e.Options, func(o authority.Tag) bool { return o.Name == name })
		e.Options = append(e.Options, authority.Tag{Name: name, Value: value})
	}
}

func TestCredential(t *testing.T) {
	for _, bad := range [][2]string{{UseToken, ""}, {UseAppRole, ""}, {UseKey, "x"}, {"x", "x"}, {"", "a:b"}, {"", "a\nb"}} {
		if made, err := Credential(bad[0], bad[1]); !errors.Is(err, gateway.ErrEndpoint) || made.Show != "" {
			t.Errorf("%q: %+v, %v", bad, made, err)
		}
	}
	if made, err := Credential("", "ci"); err != nil || !strings.HasPrefix(made.Show, "cvs.") || made.Material.Len() != 32 {
		t.Errorf("%+v, %v", made, err)
	}
	if made, err := Credential("", ""); err != nil || made.Show != "" || made.Credential.Use != UseKey {
		t.Errorf("%+v, %v", made, err)
	}
}

// FuzzRole: no text of a record makes a role that admits whoever it doesn't name.
func FuzzRole(f *testing.F) {
	f.Add("jwt;claim.sub=repo:acme/*;ttl=10m;policies=ops a")
	f.Add("kubernetes;claim.namespace=shop")
	f.Add("approle;ttl=1h")
	s := &settings{ttl: time.Hour, maxTTL: 2 * time.Hour}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := s.role(text)
		if err != nil {
			return
		}
		if r.method != UseAppRole && r.admits(func(string) []string { return nil }) || r.ttl > r.maxTTL || r.ttl < time.Minute {
			t.Fatalf("%q: %+v", text, r)
		}
	})
}
