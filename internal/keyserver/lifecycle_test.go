// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// TestLifeOfAKey goes through every state that people can bring a key into, asks
// for it in each, before and after a restart.
func TestLifeOfAKey(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	id := r.KeyOf("k").ID
	each := func(check func()) { check(); r.Restart(); check() }
	each(func() { r.Want(app, "k", 0, "encrypt", "") })

	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: id})
	each(func() {
		if v := r.Want(app, "k", 0, "encrypt", "").Version; v != 2 {
			t.Errorf("after a rotation the current version is %d", v)
		}
		r.Want(app, "k", 1, "decrypt", "")
		r.Want(app, "k", 1, "encrypt", "version 1 is deactivated: it opens and verifies, nothing else")
		r.Want(app, "k", 3, "decrypt", "the key has no such version")
	})

	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	each(func() { r.Want(app, "k", 0, "encrypt", "the key is disabled") })
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
	each(func() { r.Want(app, "k", 0, "encrypt", "") })

	r.Propose(authority.KindKeyCompromise, authority.VersionRef{ID: id, Number: 2})
	each(func() {
		r.Want(app, "k", 2, "encrypt", "version 2 is compromised: it opens and verifies, nothing else")
		if s := r.Want(app, "k", 2, "decrypt", "").State; s != wire.StateCompromised {
			t.Errorf("the signed state is %s", s)
		}
	})

	r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: id, Number: 1, Wait: 3600})
	each(func() { r.Want(app, "k", 1, "decrypt", "version 1 is waiting to be destroyed") })
	r.Propose(authority.KindKeyKeep, authority.VersionRef{ID: id, Number: 1})
	each(func() { r.Want(app, "k", 1, "decrypt", "") })

	r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: id, Number: 1})
	each(func() {
		r.Want(app, "k", 1, "decrypt", "version 1 is destroyed")
		r.Want(app, "k", 2, "decrypt", "")
	})
	state := r.Replay()
	if v := state.KeyNamed("k").Version(1); v.State != wire.StateDestroyed || len(state.DestroyedExcept(v)) != 0 || state.Erasure != 1 {
		t.Errorf("after the destruction: %+v, except %q, erasure epoch %d", v, state.DestroyedExcept(v), state.Erasure)
	}
	if _, ok := state.Receipt(r.Founded.Server); !ok {
		t.Error("no receipt for the erasure")
	}
	r.Propose(authority.KindRevokeAll, authority.Subject{Reason: "fire"})
	each(func() { r.Want(app, "k", 2, "decrypt", "everything is revoked") })
	r.Propose(authority.KindEnableAll, authority.Subject{})
	each(func() { r.Want(app, "k", 2, "decrypt", "") })
}

// TestDestroyedExcept: a backup with the epoch's key keeps a version alive until
// it is gone; in strict mode backups have none.
func TestDestroyedExcept(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			r := keyservertest.NewWith(t, keyservertest.Setup{Init: func(o *datadir.InitOptions) { o.Strict = strict }})
			r.CreateKey("k", authority.AES256)
			status, backup := r.AsAdmin("POST", "/v1/admin/backup", nil)
			if status != 200 || len(backup) == 0 {
				t.Fatalf("backup: %d %.100s", status, backup)
			}
			listed := r.Replay().Backups()
			if len(listed) != 1 || listed[0].HoldsEEK == strict {
				t.Fatalf("listed: %+v", listed)
			}
			r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: r.KeyOf("k").ID})
			state := r.Replay()
			except := state.DestroyedExcept(state.KeyNamed("k").Version(1))
			if want := "backup " + listed[0].ID.String(); strict != (len(except) == 0) || !strict && !slices.Equal(except, []string{want}) {
				t.Errorf("destroyed except %q", except)
			}
			r.Propose(authority.KindBackupGone, authority.BackupGone{ID: listed[0].ID, Reason: "burnt"})
			state = r.Replay()
			if except := state.DestroyedExcept(state.KeyNamed("k").Version(1)); len(except) != 0 {
				t.Errorf("after the backup is gone: %q", except)
			}
		})
	}
}

// TestUseWhileErasing: requests that run while an epoch ends are answered or
// denied, and nothing in between.
func TestUseWhileErasing(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("stays", authority.AES256)
	r.CreateKey("goes", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	id := r.KeyOf("goes").ID
	over := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			c := r.Client(app.Identity())
			for {
				select {
				case <-over:
					return
				default:
				}
				status, body := r.Do(c, "POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"stays","plaintext":"aGVsbG8="},{"op":"encrypt","key":"goes","plaintext":"aGVsbG8="}]}`), "")
				if status != 200 || bytes.Contains(body, []byte("internal")) || bytes.Count(body, []byte("ciphertext")) == 0 {
					t.Errorf("while erasing: %d %s", status, body)
					return
				}
			}
		})
	}
	for range 3 {
		r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: id})
		r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: id})
	}
	close(over)
	busy.Wait()
}

// TestPolicyIsVetted: what doesn't parse is refused before it is kept.
func TestPolicyIsVetted(t *testing.T) {
	r := keyservertest.New(t)
	before := r.Replay().Epoch
	for _, source := range []string{"permit(", `permit(principal, action == Action::"fly", resource);`, `permit(principal, action, resource) when { resource.nothing == 1 };`} {
		entry, err := r.Replay().Entry(authority.KindPolicy, authority.Policy{Source: []byte(source)}, time.Now().Add(time.Hour), r.Admin)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := r.AsAdmin("POST", "/v1/admin/entries", entry); status != 409 {
			t.Errorf("%s: %d %s", source, status, body)
		}
	}
	if after := r.Replay().Epoch; after != before {
		t.Errorf("the log grew from %s to %s", before, after)
	}
}

// TestStatements: a statement names what is revoked, at once, and a server that
// can't follow its state vouches for nothing.
func TestStatements(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	get := func() *wire.Statement {
		t.Helper()
		status, body := r.Do(r.Client(nil), "GET", "/v1/statement", nil, "")
		if status != 200 {
			t.Fatalf("statement: %d %s", status, body)
		}
		s, err := wire.ParseStatement(body, r.ServerKey())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := get(); len(s.Revoked) != 0 || s.Server != r.Founded.Server {
		t.Errorf("at first: %+v", s)
	}
	k := r.KeyOf("k")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: k.ID})
	if s := get(); !slices.Contains(s.Revoked, k.Revocation) || s.Epoch != r.Replay().Epoch {
		t.Errorf("after the key was disabled: %+v", s)
	}
	r.Propose(authority.KindRevokeAll, authority.Subject{})
	if s := get(); !slices.Contains(s.Revoked, wire.RevokeEverything) {
		t.Errorf("after everything was revoked: %+v", s)
	}
}

// TestEveryAlgorithm uses a key of each algorithm on the server: what it seals,
// signs or authenticates, it opens and verifies, and nothing else.
func TestEveryAlgorithm(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	c := r.Client(app.Identity())
	type result struct {
		Ciphertext, Plaintext, Signature, MAC []byte
		PublicKey                             []byte `json:"public_key"`
		Verified                              *bool
		Error                                 *struct{ Code, Message string }
	}
	use := func(items ...map[string]any) []result {
		t.Helper()
		in, _ := json.Marshal(map[string]any{"items": items})
		status, body := r.Do(c, "POST", "/v1/use", in, "")
		var out struct{ Items []result }
		if err := json.Unmarshal(body, &out); err != nil || status != 200 || len(out.Items) != len(items) {
			t.Fatalf("use: %d %s", status, body)
		}
		return out.Items
	}
	message, other := []byte("hello"), []byte("hallo")
	for _, algorithm := range []string{authority.AES256, authority.HMACSHA, authority.Ed25519, authority.ECDSAP256, authority.RSA2048} {
		r.CreateKey(algorithm, algorithm)
		item := func(op string, more ...any) map[string]any {
			m := map[string]any{"op": op, "key": algorithm}
			for i := 0; i < len(more); i += 2 {
				m[more[i].(string)] = more[i+1]
			}
			return m
		}
		switch algorithm {
		case authority.AES256:
			ct := use(item("encrypt", "plaintext", message, "context", message))[0].Ciphertext
			got := use(item("decrypt", "ciphertext", ct, "context", message), item("decrypt", "ciphertext", ct, "context", other), item("sign", "message", message))
			if !bytes.Equal(got[0].Plaintext, message) || got[1].Error == nil || got[1].Error.Code != "malformed" || got[2].Error == nil {
				t.Errorf("%s: %+v", algorithm, got)
			}
		case authority.HMACSHA:
			mac := use(item("mac", "message", message))[0].MAC
			got := use(item("verify-mac", "message", message, "mac", mac), item("verify-mac", "message", other, "mac", mac), item("encrypt", "plaintext", message))
			if got[0].Verified == nil || !*got[0].Verified || got[1].Verified == nil || *got[1].Verified || got[2].Error == nil {
				t.Errorf("%s: %+v", algorithm, got)
			}
		default:
			made := use(item("sign", "message", message), item("public-key"))
			got := use(item("verify", "message", message, "signature", made[0].Signature), item("verify", "message", other, "signature", made[0].Signature), item("mac", "message", message))
			if len(made[1].PublicKey) == 0 || got[0].Verified == nil || !*got[0].Verified || got[1].Verified == nil || *got[1].Verified || got[2].Error == nil {
				t.Errorf("%s: %+v, made %+v", algorithm, got, made)
			}
		}
	}
	g, _ := r.ReleaseItem(app, wire.Item{Name: authority.RSA2048, Purpose: wire.PurposeSign, Operations: []string{"sign"}})
	if !strings.Contains(g.Items[0].Reason, "stays on the server") {
		t.Errorf("a stored key is released: %+v", g.Items[0])
	}
}

// TestReleasesWorkOnce: a repeat gets the same bytes and leaves no second leaf;
// once the log has moved it is refused.
func TestReleasesWorkOnce(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	sealed, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
	c := r.Client(app.Identity())
	_, first := r.Do(c, "POST", "/v1/exchange", sealed, "")
	leaves := r.Leaves("release")
	status, second := r.Do(c, "POST", "/v1/exchange", sealed, "")
	if status != 200 || !bytes.Equal(first, second) || r.Leaves("release") != leaves {
		t.Errorf("a repeat: %d, same bytes %v, leaves %d then %d", status, bytes.Equal(first, second), leaves, r.Leaves("release"))
	}
	r.CreateKey("k2", authority.AES256)
	if status, body := r.Do(c, "POST", "/v1/exchange", sealed, ""); status != 409 {
		t.Errorf("a repeat after the log moved: %d %s", status, body)
	}
	for name, life := range map[string]time.Duration{"expired": -time.Second, "good for too long": 2 * time.Minute} {
		sealed, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), life)
		if status, body := r.Do(c, "POST", "/v1/exchange", sealed, ""); status != 401 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}
