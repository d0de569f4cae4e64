// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/kdf"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func TestReleaseEndToEnd(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("payments/cards", authority.AES256)
	app1, app2 := r.Enroll("app1"), r.Enroll("app2")
	if g, _ := r.Release(app1, "payments/cards", "encrypt"); g.Items[0].Decision != wire.DecisionDenied || g.Items[0].Reason != "no policy allows it" {
		t.Errorf("without a policy: %+v", g.Items[0])
	}
	r.Allow(keyservertest.AllowApp1)
	g, rel := r.Release(app1, "payments/cards", "encrypt", "decrypt")
	if g.Items[0].Decision != wire.DecisionAllowed {
		t.Fatalf("denied: %s", g.Items[0].Reason)
	}
	leaf := secret.Take(rel.Keys[0])
	if kc := kdf.Commit(leaf, r.Founded.Domain); !bytes.Equal(kc[:], g.Items[0].KC) {
		t.Error("the key does not match its commitment")
	}
	if g, _ := r.Release(app2, "payments/cards", "encrypt"); g.Items[0].Decision != wire.DecisionDenied {
		t.Error("app2 got a key that no policy allows")
	}
	if g, _ := r.Release(app1, "no/such", "encrypt"); g.Items[0].Reason != "no policy allows it" {
		t.Errorf("an absent key is told apart: %q", g.Items[0].Reason)
	}
}

func TestServerSideUse(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("payments/cards", authority.AES256)
	app1 := r.Enroll("app1")
	r.Allow(keyservertest.AllowApp1)
	c := r.Client(app1.Identity())
	in := `{"items":[{"op":"encrypt","key":"payments/cards","plaintext":"aGVsbG8="},{"op":"encrypt","key":"other","plaintext":"aGVsbG8="}]}`
	status, body := r.Do(c, "POST", "/v1/use", []byte(in), "")
	var out struct {
		Items []struct {
			Ciphertext []byte
			Plaintext  []byte
			Error      *struct{ Code string }
		}
	}
	if err := json.Unmarshal(body, &out); err != nil || status != 200 || len(out.Items) != 2 {
		t.Fatalf("use: %d %s", status, body)
	}
	if out.Items[1].Error == nil || out.Items[1].Error.Code != "denied" {
		t.Errorf("second item: %s", body)
	}
	ct, _ := json.Marshal(out.Items[0].Ciphertext)
	status, body = r.Do(c, "POST", "/v1/use", []byte(`{"items":[{"op":"decrypt","key":"payments/cards","ciphertext":`+string(ct)+`}]}`), "")
	if err := json.Unmarshal(body, &out); err != nil || status != 200 || string(out.Items[0].Plaintext) != "hello" {
		t.Fatalf("decrypt: %d %s", status, body)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	first, rel := r.Release(app, "k", "encrypt")
	before := rel.Keys[0]
	r.Restart()
	second, rel := r.Release(app, "k", "encrypt")
	if !bytes.Equal(before, rel.Keys[0]) || second.Epoch.Compare(first.Epoch) < 0 {
		t.Error("after a restart the key or the epoch is another")
	}
}

// TestRefusalsLookAlike: a key that isn't there and one that may not be used
// give the same answer, signed or not.
func TestRefusalsLookAlike(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("secret/plans", authority.AES256)
	r.CreateKey("open/key", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`@id("no-secrets") forbid(principal, action, resource == Key::"secret/plans");
@id("no-ghosts") forbid(principal, action, resource == Key::"secret/ghost");
permit(principal, action, resource == Key::"open/key");`)
	there, _ := r.Release(app, "secret/plans", "encrypt")
	absent, _ := r.Release(app, "secret/ghost", "encrypt")
	a, b := there.Items[0], absent.Items[0]
	a.Name, a.AuditIndex, b.Name, b.AuditIndex = "", 0, "", 0
	a.Reason = strings.Replace(a.Reason, "secrets", "ghosts", 1)
	if got, want := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); got != want || a.Reason == "" {
		t.Errorf("forbidden %s\nabsent    %s", got, want)
	}
	if g, _ := r.Release(app, "secret/other", "encrypt"); g.Items[0].Reason != "no policy allows it" {
		t.Errorf("absent: %s", g.Items[0].Reason)
	}
	id := r.Replay().KeyNamed("secret/plans").ID
	g, _ := r.ReleaseItem(app, keyservertest.ItemByID(id))
	if s := fmt.Sprintf("%+v", g.Items[0]); strings.Contains(s, "plans") {
		t.Errorf("a refusal by id tells the key's name: %s", s)
	}
	status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"secret/ghost"},{"op":"encrypt","key":"secret/plans"}]}`), "")
	if status != 200 || strings.Count(string(body), `"denied"`) != 2 {
		t.Errorf("use: %d %s", status, body)
	}
}
