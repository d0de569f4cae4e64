// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/secret"
)

// store serves a key store in which policy permits what it says.
func store(t *testing.T, policy string) (*kms, *gatewaytest.Rig) {
	t.Helper()
	k := new(kms)
	s := k.suite()
	s.Endpoint.Name, s.Endpoint.Kind = "door", "xks"
	r := gatewaytest.New(t, &s)
	r.Allow(policy)
	return k, r
}

// encrypt is a valid encryption with some members set.
func encrypt(plaintext, aad []byte, more map[string]any) gatewaytest.Request {
	members := map[string]any{"plaintext": plaintext, "encryptionAlgorithm": "AES_GCM"}
	if aad != nil {
		members["additionalAuthenticatedData"] = aad
	}
	for name, value := range more {
		members[name] = value
	}
	return request("k1/encrypt", members)
}

// refused expects an error of the API.
func refused(t *testing.T, what string, reply gatewaytest.Reply, status int, name string) {
	t.Helper()
	if err := gatewaytest.Status(status, `{"errorName":"`+name+`","errorMessage":"`)(reply); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if len(reply.Body) > 700 || bytes.ContainsAny(reply.Body, "\n\t") {
		t.Errorf("%s: the error is not one short line: %q", what, reply.Body)
	}
}

// TestRoundTrip: ciphertexts have the shape that KMS keeps, open with what they
// were made with and nothing else, at the sizes that the specification demands,
// after a rotation too.
func TestRoundTrip(t *testing.T) {
	k, r := store(t, everything)
	plaintext, aad := bytes.Repeat([]byte{7}, 4300), bytes.Repeat([]byte{8}, 8192)
	var out map[string]any
	k.must(r, encrypt(plaintext, aad, map[string]any{"ciphertextDataIntegrityValueAlgorithm": "SHA_256"}), &out)
	var parts struct {
		Ciphertext, InitializationVector, AuthenticationTag, CiphertextMetadata []byte
		CiphertextDataIntegrityValue                                            string
	}
	text, _ := json.Marshal(out)
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	if len(parts.Ciphertext) != 4300 || len(parts.InitializationVector) != 12 || len(parts.AuthenticationTag) != 16 || len(parts.CiphertextMetadata) != 20 {
		t.Fatalf("%d, %d, %d, %d bytes", len(parts.Ciphertext), len(parts.InitializationVector), len(parts.AuthenticationTag), len(parts.CiphertextMetadata))
	}
	delete(out, "ciphertextDataIntegrityValue")
	out["encryptionAlgorithm"] = "AES_GCM"
	decrypt := func(change map[string]any) gatewaytest.Reply {
		members := map[string]any{}
		for name, value := range out {
			members[name] = value
		}
		members["additionalAuthenticatedData"] = aad
		for name, value := range change {
			members[name] = value
			if value == nil {
				delete(members, name)
			}
		}
		return k.call(r, request("k1/decrypt", members))
	}
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("aws/k1").ID})
	if reply := decrypt(nil); reply.Status != 200 || !bytes.Contains(reply.Body, []byte(`{"plaintext":"BwcHBw`)) {
		t.Fatalf("%d %.200s", reply.Status, reply.Body)
	}
	flip := func(p []byte, at int) []byte { p = bytes.Clone(p); p[at] ^= 1; return p }
	for name, change := range map[string]map[string]any{
		"ciphertext": {"ciphertext": flip(parts.Ciphertext, 9)}, "iv": {"initializationVector": flip(parts.InitializationVector, 0)},
		"tag": {"authenticationTag": flip(parts.AuthenticationTag, 15)}, "format": {"ciphertextMetadata": flip(parts.CiphertextMetadata, 0)},
		"version": {"ciphertextMetadata": flip(parts.CiphertextMetadata, 4)}, "salt": {"ciphertextMetadata": flip(parts.CiphertextMetadata, 19)},
		"no metadata": {"ciphertextMetadata": nil}, "other aad": {"additionalAuthenticatedData": flip(aad, 100)},
		"no aad": {"additionalAuthenticatedData": nil}, "shorter aad": {"additionalAuthenticatedData": aad[:8191]},
		"metadata moved into aad": {"additionalAuthenticatedData": append(bytes.Clone(aad), parts.CiphertextMetadata...), "ciphertextMetadata": nil},
		"short tag":               {"authenticationTag": parts.AuthenticationTag[:12]}, "iv of 16": {"initializationVector": make([]byte, 16)},
	} {
		refused(t, name, decrypt(change), 400, "InvalidCiphertextException")
	}
	for name, change := range map[string]map[string]any{
		"no tag": {"authenticationTag": nil}, "no iv": {"initializationVector": nil}, "no ciphertext": {"ciphertext": nil}, "no algorithm": {"encryptionAlgorithm": nil},
		"empty": {"ciphertext": ""}, "other algorithm": {"encryptionAlgorithm": "AES_CBC"}, "url base 64": {"ciphertext": "__-_"}, "unpadded": {"ciphertext": "AAA"},
		"line end": {"ciphertext": "AA\nAA"},
	} {
		refused(t, name, decrypt(change), 400, "ValidationException")
	}
	refused(t, "long", k.call(r, encrypt(make([]byte, maxPlaintext+1), nil, nil)), 501, "UnsupportedOperationException")
	refused(t, "no plaintext", k.call(r, encrypt(nil, nil, nil)), 400, "ValidationException")
	refused(t, "other integrity", k.call(r, encrypt(plaintext, nil, map[string]any{"ciphertextDataIntegrityValueAlgorithm": "SHA_512"})), 400, "ValidationException")
}

// TestUsage: what a key is for decides, and is told.
func TestUsage(t *testing.T) {
	k, r := store(t, `permit(principal, action == Action::"encrypt", resource);`)
	var meta struct {
		KeySpec, KeyStatus string
		KeyUsage           []string
	}
	k.must(r, request("k1/metadata", nil), &meta)
	if meta.KeySpec != "AES_256" || meta.KeyStatus != "ENABLED" || len(meta.KeyUsage) != 1 || meta.KeyUsage[0] != "ENCRYPT" {
		t.Errorf("%+v", meta)
	}
	if reply := k.call(r, encrypt([]byte("x"), nil, nil)); reply.Status != 200 {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
	refused(t, "integrity without decrypt", k.call(r, encrypt([]byte("x"), nil, map[string]any{"ciphertextDataIntegrityValueAlgorithm": "SHA_256"})), 400, "InvalidKeyUsageException")
	refused(t, "decrypt", k.call(r, gatewaytest.Request{Method: "POST", Path: root + "/keys/k1/decrypt", Body: k.sealed}), 400, "InvalidKeyUsageException")
	r.Allow(`permit(principal, action == Action::"decrypt", resource);`)
	refused(t, "encrypt", k.call(r, encrypt([]byte("x"), nil, nil)), 400, "InvalidKeyUsageException")
	r.CreateKey("aws/mac", authority.HMACSHA)
	r.Allow(everything)
	refused(t, "no AES key", k.call(r, request("mac/metadata", nil)), 404, "KeyNotFoundException")
}

// TestPolicySees what KMS says of its caller and of the request.
func TestPolicySees(t *testing.T) {
	for policy, works := range map[string]bool{
		`permit(principal == Subject::"door:arn:aws:iam::123456789012:role/App", action, resource);`:                       true,
		`permit(principal == Subject::"door:arn:aws:iam::123456789012:role/Other", action, resource);`:                     false,
		`permit(principal, action, resource) when { principal has account && principal.account == "123456789012" };`:       true,
		`permit(principal, action, resource) when { principal has arn && principal.arn like "arn:aws:iam::1*:role/*" };`:   true,
		`permit(principal, action, resource) when { context has kmsOperation && context.kmsOperation == "Encrypt" };`:      true,
		`permit(principal, action, resource) when { context has kmsOperation && context.kmsOperation == "ReEncrypt" };`:    false,
		`permit(principal, action, resource) when { context has kmsViaService && context.kmsViaService == "ebs" };`:        true,
		`permit(principal, action, resource) when { context has sourceVpc && context.sourceVpc == "vpc-1" };`:              true,
		`permit(principal, action, resource) when { context has sourceVpce };`:                                             false,
		`permit(principal, action, resource) when { context has kmsKeyArn && context.kmsKeyArn like "arn:aws:kms:eu-*" };`: true,
		`permit(principal, action, resource) when { context has route && context.route == "xks" };`:                        true,
		`permit(principal in Endpoint::"other", action, resource);`:                                                        false,
	} {
		k, r := store(t, policy)
		if reply := k.call(r, encrypt([]byte("x"), nil, nil)); (reply.Status == 200) != works {
			t.Errorf("%s: %d %s", policy, reply.Status, reply.Body)
		}
	}
}

// TestIdentifiers: names, metadata and operations that KMS may send, and some that
// it may not.
func TestIdentifiers(t *testing.T) {
	k, r := store(t, everything)
	for path, name := range map[string]string{
		"K1/metadata": "KeyNotFoundException", "k%21/metadata": "AuthenticationFailedException", strings.Repeat("k", 129) + "/metadata": "KeyNotFoundException",
		"../metadata": "", "..%2fk1/metadata": "",
	} {
		if reply := k.call(r, request(path, nil)); reply.Status < 400 || !strings.Contains(string(reply.Body), name) {
			t.Errorf("%s: %d %s", path, reply.Status, reply.Body)
		}
	}
	said := func(change map[string]any) gatewaytest.Reply {
		metadata := map[string]any{
			"awsPrincipalArn": "arn:aws:iam::1:role/a", "kmsOperation": "Encrypt", "kmsRequestId": "r", "kmsKeyArn": "arn:aws:kms:eu-west-1:1:key/1",
		}
		for name, value := range change {
			metadata[name] = value
		}
		return k.call(r, encrypt([]byte("x"), nil, map[string]any{"requestMetadata": metadata}))
	}
	for name, change := range map[string]map[string]any{
		"operation of tomorrow": {"kmsOperation": "FoldSpacetime"}, "member of tomorrow": {"kmsMood": map[string]any{"a": 1}},
		"long ARN": {"awsPrincipalArn": "arn:aws:iam::1:role/" + strings.Repeat("a", 2000)},
	} {
		if reply := said(change); reply.Status != 200 {
			t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
		}
	}
	for name, change := range map[string]map[string]any{
		"no ARN": {"awsPrincipalArn": ""}, "no key ARN": {"kmsKeyArn": ""}, "no operation": {"kmsOperation": ""}, "no request id": {"kmsRequestId": ""},
		"endless ARN": {"awsPrincipalArn": strings.Repeat("a", 2049)},
	} {
		refused(t, name, said(change), 400, "ValidationException")
	}
	health := gatewaytest.Request{Method: "POST", Path: root + "/health", Body: []byte(`{"requestMetadata":{}}`)}
	refused(t, "health without metadata", k.call(r, health), 400, "ValidationException")
	if reply := k.call(r, gatewaytest.Request{Method: "GET", Path: root + "/health"}); reply.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", reply.Status)
	}
}

// TestCredentials: both of two live credentials sign, and none that was taken away.
func TestCredentials(t *testing.T) {
	k, r := store(t, everything)
	k.keys[0], k.keys[1] = k.keys[1], k.keys[0]
	if reply := k.call(r, encrypt([]byte("x"), nil, nil)); reply.Status != 200 {
		t.Fatalf("the second one: %d %s", reply.Status, reply.Body)
	}
	next := r.Endpoint
	next.Credentials = nil
	for _, c := range r.Endpoint.Credentials {
		if c.ID != k.keys[0].ID {
			next.Credentials = append(next.Credentials, c)
		}
	}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: next})
	refused(t, "taken away", k.call(r, encrypt([]byte("x"), nil, nil)), 401, "AuthenticationFailedException")
	k.keys[0], k.keys[1] = k.keys[1], k.keys[0]
	if reply := k.call(r, encrypt([]byte("x"), nil, nil)); reply.Status != 200 {
		t.Errorf("the one that stays: %d %s", reply.Status, reply.Body)
	}
}

// TestCurl has curl sign by itself.
func TestCurl(t *testing.T) {
	k, r := store(t, everything)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	var roots []byte
	conn, err := tls.Dial("tcp", r.Doors, &tls.Config{RootCAs: r.Roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range conn.ConnectionState().VerifiedChains[0] {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(ca, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	curl := func(path string, body []byte, key int) string {
		config := filepath.Join(dir, "config")
		user := "user = \"" + k.keys[key].ID + ":" + string(k.keys[0].Secret.Expose()) + "\"\n"
		if err := os.WriteFile(config, []byte(user), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "curl", "-sS", "--config", config, "--cacert", ca, "--aws-sigv4", "aws:amz:eu-west-1:"+service,
			"-H", "Content-Type: application/json", "--data-binary", "@-", r.Base()+root+path)
		cmd.Stdin = bytes.NewReader(body)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := curl("/health", body(nil), 0); !strings.Contains(out, `"healthStatus":"ACTIVE"`) {
		t.Error(out)
	}
	if out := curl("/keys/k1/encrypt", encrypt([]byte("x"), nil, nil).Body, 0); !strings.Contains(out, `"ciphertextMetadata":"AQAAAA`) {
		t.Error(out)
	}
	if out := curl("/keys/k1/decrypt", k.sealed, 0); !strings.Contains(out, `{"plaintext":`) {
		t.Error(out)
	}
	if out := curl("/health", body(nil), 1); !strings.Contains(out, "AuthenticationFailedException") {
		t.Error(out)
	}
}

// TestProbe: the endpoint's own test takes every step, and finds what is wrong.
func TestProbe(t *testing.T) {
	k, r := store(t, everything)
	target := gateway.ProbeTarget{
		Site:    gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()},
		Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "k1",
	}
	for i, c := range r.Endpoint.Credentials {
		if c.ID == k.keys[0].ID {
			target.Secret = &gateway.Secret{Credential: r.Endpoint.Credentials[i], Material: secret.Take(bytes.Clone(k.keys[0].Secret.Expose()))}
		}
	}
	checks := probe(t.Context(), target)
	if len(checks) != 6 {
		t.Errorf("%d steps", len(checks))
	}
	for _, c := range checks {
		if c.Err != nil || c.Latency <= 0 || c.Note == "" {
			t.Errorf("%+v", c)
		}
	}
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("aws/k1").ID})
	checks = probe(t.Context(), target)
	last := checks[len(checks)-1]
	if f, ok := errors.AsType[*failure](last.Err); !ok || f.name != "InvalidStateException" || last.Name != "encrypt" {
		t.Errorf("of a disabled key: %+v", last)
	}
	target.Secret = nil
	if checks = probe(t.Context(), target); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("without a credential: %+v", checks)
	}
}

// TestGuide has what AWS asks for, and says the secret once.
func TestGuide(t *testing.T) {
	made, err := newCredential("", "")
	if err != nil {
		t.Fatal(err)
	}
	site := gateway.Site{Base: "https://keys.example.com:8445/store", Endpoint: authority.Endpoint{Name: "store"}}
	text := guide(site, []gateway.Secret{made})
	for _, part := range []string{`"XksProxyUriPath": "/store/kms/xks/v1"`, `"AccessKeyId": "` + made.Credential.ID, "https://keys.example.com\"", "aws kms create-custom-key-store", `Endpoint::"store"`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in it:\n%s", part, text)
		}
	}
	if strings.Count(text, made.Show) != 1 {
		t.Error("the secret stands there more than once, or not at all")
	}
	if n := len(made.Credential.ID); n < 20 || n > 30 || len(made.Show) < 43 || len(made.Show) > 64 {
		t.Errorf("%d and %d characters", n, len(made.Show))
	}
}

// TestSlowServer: a request that can't be answered in time, because the disk of the
// audit log takes its own, fails as KMS wants it.
func TestSlowServer(t *testing.T) {
	d := &door{site: gateway.Site{Health: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, Clock: clock.System()}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, err := d.healthStatus(ctx, nil)
	if err != nil || !bytes.Contains(a.Body, []byte("UNAVAILABLE")) {
		t.Errorf("%+v, %v", a, err)
	}

	k, r := store(t, everything)
	release := r.Stall()
	defer release()
	for name, req := range map[string]gatewaytest.Request{
		"metadata": request("k1/metadata", nil), "encrypt": encrypt([]byte("x"), nil, nil), "decrypt": {Method: "POST", Path: root + "/keys/k1/decrypt", Body: k.sealed},
	} {
		refused(t, name, k.call(r, req), 503, "DependencyTimeoutException")
	}
}
