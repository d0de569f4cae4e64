// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/keyserver"
)

// claim is one change of a good token, and what a wrap or unwrap with it is told.
type claim struct {
	name   string
	change map[string]any
	status int // 200: it works
	text   string
}

func (c claim) judge(t *testing.T, what string, reply gatewaytest.Reply) {
	t.Helper()
	if !answered(reply, c.status, c.text) {
		t.Errorf("%s, %s: %d %s; want %d with %q", what, c.name, reply.Status, reply.Body, c.status, c.text)
	}
}

// TestAuthorization: what Google's token has to say.
func TestAuthorization(t *testing.T) {
	k, r := serve(t, everything)
	now := clock.System().Now()
	for _, c := range []claim{
		{"as it is", nil, 200, ""},
		{"other spelling of the address", map[string]any{"email": "ALICE@EXAMPLE.COM"}, 200, ""},
		{"of somebody else", map[string]any{"email": "bob@example.com"}, 403, "different users"},
		{"of nobody", map[string]any{"email": nil}, 403, "different users"},
		{"of a look-alike", map[string]any{"email": "alice@example.com\u212a"}, 403, "not usable"},
		{"another service's URL", map[string]any{"kacls_url": "https://evil.example.com/v1"}, 403, "another key service"},
		{"the URL that the request went to", map[string]any{"kacls_url": r.Base()}, 403, "another key service"},
		{"a longer URL", map[string]any{"kacls_url": own + "/x"}, 403, "another key service"},
		{"no URL", map[string]any{"kacls_url": nil}, 403, "another key service"},
		{"a slash at the end of the URL", map[string]any{"kacls_url": own + "/"}, 200, ""},
		{"another domain", map[string]any{"kacls_owner_domain": "evil.example.com"}, 403, "another domain"},
		{"an empty domain", map[string]any{"kacls_owner_domain": ""}, 403, "another domain"},
		{"no domain", map[string]any{"kacls_owner_domain": nil}, 200, ""},
		{"the domain in capitals", map[string]any{"kacls_owner_domain": "EXAMPLE.COM"}, 200, ""},
		{"a Google account", map[string]any{"email_type": "google"}, 200, ""},
		{"a visitor", map[string]any{"email_type": "google-visitor"}, 403, "guests"},
		{"a guest", map[string]any{"email_type": "customer-idp"}, 403, "guests"},
		{"something new", map[string]any{"email_type": "google-friend"}, 403, "guests"},
		{"no resource", map[string]any{"resource_name": nil}, 403, "no usable name"},
		{"a long resource", map[string]any{"resource_name": strings.Repeat("r", 129)}, 403, "no usable name"},
		{"a long perimeter", map[string]any{"perimeter_id": strings.Repeat("p", 129)}, 403, "no usable name"},
		{"another perimeter", map[string]any{"perimeter_id": "moon"}, 403, "outside of the perimeter"},
		{"delegated", map[string]any{"delegated_to": "room@example.com"}, 403, "delegate different things"},
		{"another audience", map[string]any{"aud": client}, 401, ""},
		{"a migration's audience", map[string]any{"aud": audienceMigration}, 401, ""},
		{"no audience", map[string]any{"aud": nil}, 401, ""},
		{"ended", map[string]any{"exp": now.Add(-time.Hour).Unix()}, 401, ""},
		{"without an end", map[string]any{"exp": nil}, 401, ""},
		{"of the future", map[string]any{"iat": now.Add(time.Hour).Unix()}, 401, ""},
		{"made at no time", map[string]any{"iat": nil}, 401, ""},
		{"another issuer's name", map[string]any{"iss": k.idp.URL}, 401, ""},
		{"a resource that is a number", map[string]any{"resource_name": 5}, 401, ""},
		{"a domain that is a list", map[string]any{"kacls_owner_domain": []string{"example.com"}}, 401, ""},
	} {
		read := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authorization": k.authorized(roleReader, c.change)})
		write := k.asUser(roleWriter, map[string]any{"key": k.dek, "authorization": k.authorized(roleWriter, c.change)})
		c.judge(t, "unwrap", k.send(r, post("unwrap", read)))
		c.judge(t, "wrap", k.send(r, post("wrap", write)))
	}
	// A token of the identity provider is no word of Google's, and the other way round.
	swapped := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authorization": k.token(k.idp, map[string]any{
		"aud": audienceGoogle, "email": "alice@example.com", "role": roleReader, "kacls_url": own, "resource_name": resource,
	})})
	claim{"authorization of the identity provider", nil, 401, ""}.judge(t, "unwrap", k.send(r, post("unwrap", swapped)))
	swapped = k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authentication": k.token(k.google, map[string]any{
		"aud": client, "email": "alice@example.com",
	})})
	claim{"authentication of Google", nil, 401, ""}.judge(t, "unwrap", k.send(r, post("unwrap", swapped)))
	for _, c := range []claim{
		{"another resource", map[string]any{"resource_name": resource + "2"}, 400, "not of this resource"},
		{"no perimeter", map[string]any{"perimeter_id": nil}, 200, ""}, // the wrapped key has one
	} {
		read := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authorization": k.authorized(roleReader, c.change)})
		c.judge(t, "unwrap", k.send(r, post("unwrap", read)))
	}
	write := k.asUser(roleWriter, map[string]any{"key": k.dek, "authorization": k.authorized(roleWriter, map[string]any{"perimeter_id": nil})})
	claim{"no perimeter", nil, 403, "outside of the perimeter"}.judge(t, "wrap", k.send(r, post("wrap", write)))
}

// TestAuthentication: what the identity provider's token has to say.
func TestAuthentication(t *testing.T) {
	k, r := serve(t, everything)
	now := clock.System().Now()
	for _, c := range []claim{
		{"as it is", nil, 200, ""},
		{"Google's address, which counts more", map[string]any{"email": "a@corp.example", "google_email": "Alice@example.com"}, 200, ""},
		{"Google's address of somebody else", map[string]any{"google_email": "bob@example.com"}, 403, "different users"},
		{"Google's address that is a list", map[string]any{"google_email": []string{"alice@example.com"}}, 401, ""},
		{"somebody else", map[string]any{"email": "bob@example.com"}, 403, "different users"},
		{"nobody", map[string]any{"email": nil}, 403, "no usable e-mail"},
		{"no address", map[string]any{"email": "alice"}, 403, "no usable e-mail"},
		{"not verified", map[string]any{"email_verified": false}, 403, "not verified"},
		{"not verified, as text", map[string]any{"email_verified": "false"}, 403, "not verified"},
		{"verified or not isn't said", map[string]any{"email_verified": nil}, 200, ""},
		{"another audience", map[string]any{"aud": audienceGoogle}, 401, ""},
		{"ended", map[string]any{"exp": now.Add(-time.Hour).Unix()}, 401, ""},
		{"made at no time", map[string]any{"iat": nil}, 401, ""},
		{"delegated", map[string]any{"delegated_to": "room@example.com", "resource_name": resource}, 403, "delegate different things"},
	} {
		members := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authentication": k.authenticated("alice@example.com", c.change)})
		c.judge(t, "unwrap", k.send(r, post("unwrap", members)))
	}
}

// TestRoles: each operation of a user's or Google's is for its roles alone.
func TestRoles(t *testing.T) {
	k, r := serve(t, everything)
	digest := make([]byte, 32)
	for path, c := range map[string]struct {
		roles   string
		members map[string]any
	}{
		"wrap":              {"writer upgrader", map[string]any{"key": k.dek}},
		"unwrap":            {"reader writer", map[string]any{"wrapped_key": k.wrapped}},
		"digest":            {"verifier", map[string]any{"wrapped_key": k.wrapped}},
		"rewrap":            {"migrator", map[string]any{"wrapped_key": k.wrapped, "original_kacls_url": k.old.base()}},
		"privatekeysign":    {"signer", map[string]any{"wrapped_private_key": k.private, "algorithm": "SHA256withRSA", "digest": digest}},
		"privatekeydecrypt": {"decrypter", map[string]any{"wrapped_private_key": k.private, "algorithm": "RSA/ECB/OAEPwithSHA-256andMGF1Padding", "encrypted_data_encryption_key": k.encrypted, "rsa_oaep_label": []byte("label")}},
		"delegate":          {"reader writer upgrader", nil},
	} {
		for _, role := range []string{roleReader, roleWriter, roleUpgrader, roleMigrator, roleVerifier, roleSigner, roleDecrypter, "", "Reader", "owner"} {
			change := map[string]any{}
			if path == "delegate" {
				change["delegated_to"] = "room@example.com"
			}
			members := k.asUser(role, with(c.members, nil))
			if c.members == nil {
				members = k.asUser(role, nil)
			}
			members["authorization"] = k.authorized(role, change)
			want := claim{role, nil, 403, "role does not permit"}
			if role != "" && strings.Contains(" "+c.roles+" ", " "+role+" ") {
				want = claim{role, nil, 200, ""}
			}
			want.judge(t, path, k.send(r, post(path, members)))
		}
	}
}

// TestGuests: where the record admits them.
func TestGuests(t *testing.T) {
	k := new(workspace)
	s := k.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind = "door", "kacls"
	s.Endpoint.Options = []authority.Tag{
		gatewaytest.Tag(optionDomain, "example.com"), gatewaytest.Tag(optionGuests, "yes"), gatewaytest.Tag(optionKey, "gw/wrap"),
		gatewaytest.Tag(optionPrivileged, "admin@example.com"), gatewaytest.Tag(optionURL, own),
	}
	r := gatewaytest.New(t, &s)
	r.Allow(everything)
	for kind, status := range map[string]int{"google-visitor": 200, "customer-idp": 200, "google": 200, "google-friend": 403} {
		members := k.asUser(roleReader, map[string]any{
			"wrapped_key": k.wrapped, "authorization": k.authorized(roleReader, map[string]any{"email_type": kind, "perimeter_id": "anywhere"}),
		})
		claim{kind, nil, status, ""}.judge(t, "unwrap", k.send(r, post("unwrap", members)))
	}
	// Without a signing key there is nothing to sign with.
	for _, path := range []string{"delegate", "rewrap"} {
		claim{"no signing key", nil, 404, ""}.judge(t, path, k.send(r, post(path, k.asUser(roleReader, nil))))
	}
	if reply := k.send(r, gatewaytest.Request{Method: "GET", Path: "/certs"}); reply.Status != 404 {
		t.Errorf("certs: %d", reply.Status)
	}
}

// TestPrivileged: who is not in the record is nobody's admin, whatever policy says.
func TestPrivileged(t *testing.T) {
	k, r := serve(t, everything)
	for path, members := range map[string]map[string]any{
		"privilegedwrap":   {"key": k.dek, "resource_name": resource, "perimeter_id": "eu"},
		"privilegedunwrap": {"wrapped_key": k.wrapped, "resource_name": resource},
		"takeout_unwrap":   {"wrapped_key": k.wrapped, "resource_name": resource},
		"wrapprivatekey":   {"private_key": pemOf(userKey()), "perimeter_id": "eu"},
		"privilegedprivatekeydecrypt": {
			"algorithm": "RSA/ECB/OAEPwithSHA-256andMGF1Padding", "encrypted_data_encryption_key": k.encrypted, "rsa_oaep_label": []byte("label"),
			"wrapped_private_key": k.private, "spki_hash": k.spki, "spki_hash_algorithm": "SHA-256",
		},
	} {
		for _, c := range []claim{
			{"Admin@Example.com", nil, 200, ""}, {"alice@example.com", nil, 403, "not among those"}, {"admin@example.com.evil", nil, 403, "not among those"},
		} {
			c.judge(t, path, k.send(r, post(path, k.asAdmin(with(members, map[string]any{"authentication": k.authenticated(c.name, nil)})))))
		}
		acting := k.authenticated("admin@example.com", map[string]any{"delegated_to": "room@example.com", "resource_name": resource})
		claim{"who acts for an admin", nil, 403, "not among those"}.judge(t, path, k.send(r, post(path, k.asAdmin(with(members, map[string]any{"authentication": acting})))))
		google := k.authorized(roleReader, map[string]any{"email": "admin@example.com"})
		claim{"Google's word", nil, 401, ""}.judge(t, path, k.send(r, post(path, k.asAdmin(with(members, map[string]any{"authentication": google})))))
	}
	for name, members := range map[string]map[string]any{
		"another resource": {"resource_name": resource + "2"}, "no resource": {"resource_name": ""}, "a long resource": {"resource_name": strings.Repeat("r", 129)},
	} {
		all := k.asAdmin(with(map[string]any{"wrapped_key": k.wrapped}, members))
		claim{name, nil, 400, ""}.judge(t, "privilegedunwrap", k.send(r, post("privilegedunwrap", all)))
	}
	outside := k.asAdmin(map[string]any{"key": k.dek, "resource_name": resource, "perimeter_id": "moon"})
	claim{"outside", nil, 403, "outside of the perimeter"}.judge(t, "privilegedwrap", k.send(r, post("privilegedwrap", outside)))
}

// TestDelegation: somebody acts for a user, with one resource, for a while.
func TestDelegation(t *testing.T) {
	// Policy knows of who acts for the user what it knows of the user.
	k, r := serve(t, `permit(principal, action == Action::"verify", resource);
permit(principal == Subject::"door:alice@example.com", action, resource) when { principal has groups && principal.groups.contains("staff") };`)
	change := map[string]any{"delegated_to": "Room@Example.com"}
	reply := k.send(r, post("delegate", k.asUser(roleReader, map[string]any{"authorization": k.authorized(roleReader, change)})))
	var out map[string]string
	if reply.Status != 200 || json.Unmarshal(reply.Body, &out) != nil {
		t.Fatalf("%d %s", reply.Status, reply.Body)
	}
	token := out["delegated_authentication"]
	claims := k.opened(r, token)
	if claims["iss"] != own || claims["aud"] != audienceDelegated || claims["email"] != "alice@example.com" || claims["delegated_to"] != "Room@Example.com" ||
		claims["resource_name"] != resource || claims["exp"].(float64)-claims["iat"].(float64) > 15*60 {
		t.Errorf("%v", claims)
	}
	try := func(what, path string, status int, text string, change map[string]any) {
		t.Helper()
		members := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authentication": token, "authorization": k.authorized(roleReader, change)})
		claim{what, nil, status, text}.judge(t, path, k.send(r, post(path, members)))
	}
	try("as said", "unwrap", 200, "", map[string]any{"delegated_to": "room@example.com"})
	try("to another", "unwrap", 403, "delegate different", map[string]any{"delegated_to": "other@example.com"})
	try("with another resource", "unwrap", 403, "delegate different", map[string]any{"delegated_to": "room@example.com", "resource_name": "other"})
	try("without Google's word", "unwrap", 403, "delegate different", nil)
	try("for another user", "unwrap", 403, "different users", map[string]any{"delegated_to": "room@example.com", "email": "bob@example.com"})
	try("again", "delegate", 403, "can't let others", map[string]any{"delegated_to": "room@example.com"})
	// Signatures and names of others are nothing.
	for what, bad := range map[string]string{
		"changed":                   strings.Replace(token, ".", ".e30", 1),
		"signed by somebody else":   k.token(k.idp, map[string]any{"iss": own, "aud": audienceDelegated, "email": "alice@example.com", "delegated_to": "room@example.com", "resource_name": resource}),
		"of the identity provider":  k.token(k.idp, map[string]any{"aud": audienceDelegated, "email": "alice@example.com", "delegated_to": "room@example.com", "resource_name": resource}),
		"a migration's, of our own": k.migrating(t, r),
	} {
		good := token
		token = bad
		try(what, "unwrap", 401, "", map[string]any{"delegated_to": "room@example.com"})
		token = good
	}
	r.Allow(everything)
	for what, change := range map[string]map[string]any{"to nobody": {"delegated_to": ""}, "with nothing": {"resource_name": nil}} {
		claims := with(map[string]any{
			"iss": own, "aud": audienceDelegated, "iat": 1, "exp": clock.System().Now().Add(time.Hour).Unix(), "email": "alice@example.com",
			"delegated_to": "room@example.com", "resource_name": resource,
		}, change)
		good := token
		token = k.signed(r, claims)
		try(what, "unwrap", 401, "", map[string]any{"delegated_to": claims["delegated_to"]})
		token = good
	}
	for what, change := range map[string]map[string]any{"nothing": nil, "a long name": {"delegated_to": strings.Repeat("r", 255)}} {
		members := k.asUser(roleReader, map[string]any{"authorization": k.authorized(roleReader, change)})
		claim{what, nil, 403, "authorization"}.judge(t, "delegate", k.send(r, post("delegate", members)))
	}
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("gw/sign").ID})
	try("after a rotation", "unwrap", 200, "", map[string]any{"delegated_to": "room@example.com"})
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("gw/sign").ID})
	try("the signing key is disabled", "unwrap", 403, "disabled", map[string]any{"delegated_to": "room@example.com"})
}

// signed is a token under the door's signing key that the door itself would not make.
func (k *workspace) signed(r *gatewaytest.Rig, claims map[string]any) string {
	r.T.Helper()
	d := &door{signing: "gw/sign", site: gateway.Site{Endpoint: r.Endpoint, Do: func(_ context.Context, c *authn.Caller, op keyserver.Op) (keyserver.Answer, error) {
		return r.AskAs(c, op)
	}}}
	token, err := d.token(r.T.Context(), d.anyone(), &asked{new(gateway.Request), new(message)}, claims)
	if err != nil {
		r.T.Fatal(err)
	}
	return token
}

// opened verifies a token with what the door publishes, by another implementation.
func (k *workspace) opened(r *gatewaytest.Rig, token string) map[string]any {
	r.T.Helper()
	reply := k.send(r, gatewaytest.Request{Method: "GET", Path: "/certs"})
	var set jose.JSONWebKeySet
	if reply.Status != 200 || json.Unmarshal(reply.Body, &set) != nil {
		r.T.Fatalf("%d %s", reply.Status, reply.Body)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		r.T.Fatal(err)
	}
	keys := set.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 || !keys[0].Valid() {
		r.T.Fatalf("%s", reply.Body)
	}
	data, err := signed.Verify(keys[0])
	var claims map[string]any
	if err != nil || json.Unmarshal(data, &claims) != nil {
		r.T.Fatal(err)
	}
	return claims
}

// TestIssuer: who a token claims to be from.
func TestIssuer(t *testing.T) {
	part := func(text string) string { return "e30." + base64.RawURLEncoding.EncodeToString([]byte(text)) + ".AA" }
	for text, want := range map[string]string{
		part(`{"iss":"a"}`): "a", part(`{"ISS":"a"}`): "", part(`{"iss":["a"]}`): "", part(`{"iss":"a","iss":"b"}`): "", part(`[]`): "", "a.b": "", "": "",
		part(strings.Repeat(" ", 20<<10) + `{"iss":"a"}`): "",
	} {
		if got := issuer(text); got != want {
			t.Errorf("%.40s: %q", text, got)
		}
	}
}

func FuzzIssuer(f *testing.F) {
	f.Add("e30.eyJpc3MiOiJhIn0.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		if name := issuer(text); len(name) > len(text) {
			t.Errorf("%q", name)
		}
	})
}

// TestRate: strangers' tokens use nothing up.
func TestRate(t *testing.T) {
	k := new(workspace)
	s := k.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind, s.Endpoint.Rate = "door", "kacls", 1
	r := gatewaytest.New(t, &s)
	r.Allow(everything)
	for range 20 {
		members := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "authentication": "a.b.c"})
		if reply := k.send(r, post("unwrap", members)); reply.Status != 401 {
			t.Fatalf("%d %s", reply.Status, reply.Body)
		}
	}
	k.must(r, "unwrap", "key", k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped}))
}
