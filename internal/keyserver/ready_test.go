// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"context"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
)

// encrypts has app1 encrypt on the server and returns the answer.
func encrypts(r *keyservertest.Rig, app *keyservertest.Workload, key string) string {
	_, body := r.Do(r.Client(app.Identity()), "POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"`+key+`","plaintext":"aGVsbG8="}]}`), "")
	return string(body)
}

// TestErasureForgetsReadyKeys: no key that was derived before an erasure stays in
// memory, and what survives it is derived again.
func TestErasureForgetsReadyKeys(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("gone", authority.AES256)
	r.CreateKey("stays", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	ready := func() (n int) {
		if err := r.Server.With(t.Context(), func(_ context.Context, c *keyserver.Core) error { n = c.ReadyKeys(); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, key := range []string{"gone", "stays"} {
		if body := encrypts(r, app, key); !strings.Contains(body, "ciphertext") {
			t.Fatal(body)
		}
	}
	if n := ready(); n != 2 {
		t.Errorf("%d keys are ready after two were used", n)
	}
	r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: r.KeyOf("gone").ID})
	if n := ready(); n != 0 {
		t.Errorf("%d keys are ready after an erasure", n)
	}
	if body := encrypts(r, app, "gone"); !strings.Contains(body, "no such version") {
		t.Error(body)
	}
	if body := encrypts(r, app, "stays"); !strings.Contains(body, "ciphertext") {
		t.Error(body)
	}
}

// TestReadyAnswersFollowTheLog: however often something was allowed, the next
// request is judged by what the log says then.
func TestReadyAnswersFollowTheLog(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app, other := r.Enroll("app1"), r.Enroll("app2")
	const all, one = `permit(principal, action, resource);`, `permit(principal, action, resource) when { principal has path && principal.path == "app2" };`
	want := func(who *keyservertest.Workload, text string) {
		t.Helper()
		for range 3 {
			if body := encrypts(r, who, "k"); !strings.Contains(body, text) {
				t.Fatalf("want %s: %s", text, body)
			}
		}
	}
	want(app, "no policy allows it")
	r.Allow(all)
	want(app, `"version":1`)
	r.Allow(one)
	want(app, "no policy allows it")
	want(other, `"version":1`)
	r.Allow(all)
	want(app, `"version":1`)
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("k").ID})
	want(app, `"version":2`)
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: app.ID})
	want(app, "the client is revoked")
	want(other, `"version":2`)
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("k").ID})
	want(other, "the key is disabled")
}
