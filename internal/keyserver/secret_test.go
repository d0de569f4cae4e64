// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/secretwork"
	"claviger/internal/secrets"
	"claviger/internal/wire"
)

// TestSecretsThroughTheChokePoint: policy, state and audit hold for secrets as for
// keys, and what is kept outlives the server.
func TestSecretsThroughTheChokePoint(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("secrets/app", "aes256")
	r.Allow(`permit (principal == Workload::"spiffe://test/workload/app1", action in [Action::"secret:read", Action::"secret:write"], resource in Folder::"secrets/app");`)
	app, other := r.Enroll("app1"), r.Enroll("app2")
	ask := func(w *keyservertest.Workload, o secretwork.Operation, path, data string) (*secretwork.Result, error) {
		answer, err := r.Ask(w, &keyserver.Secret{Ask: secretwork.Ask{Operation: o, Key: "secrets/app", Path: path, Data: []byte(data), Route: "vault"}})
		if err != nil {
			return nil, err
		}
		return answer.(*keyserver.SecretDone).Result, nil
	}
	if _, err := ask(app, secretwork.Put, "db", `{"password":"hunter2"}`); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	if got, err := ask(app, secretwork.Read, "db", ""); err != nil || string(got.Data) != `{"password":"hunter2"}` {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		err, want error
	}{
		"another workload":    {second(ask(other, secretwork.Read, "db", "")), keyserver.ErrDenied},
		"another, of nothing": {second(ask(other, secretwork.Read, "none", "")), keyserver.ErrDenied},
		"nothing":             {second(ask(app, secretwork.Read, "none", "")), secrets.ErrNoVersion},
		"no JSON":             {second(ask(app, secretwork.Put, "db", "x")), keyserver.ErrMalformed},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if _, err := r.Ask(app, &keyserver.Use{Operation: "encrypt", Item: wire.Item{Name: "secrets/app"}, Input: []byte("x")}); !errors.Is(err, keyserver.ErrDenied) {
		t.Errorf("who may use secrets may use the key: %v", err)
	}
	key := r.Replay().KeyNamed("secrets/app")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: key.ID})
	_, err := ask(app, secretwork.Read, "db", "")
	if d, ok := errors.AsType[*keyserver.Denial](err); !ok || d.Cause != keyserver.CauseDisabled {
		t.Errorf("the key is disabled: %v", err)
	}
	if reads, writes := r.Leaves("secret:read"), r.Leaves("secret:write"); reads != 5 || writes != 4 { // what is decided is in the log, also if it can't be done
		t.Errorf("%d leaves of reads, %d of writes", reads, writes)
	}
}

func second[T any](_ T, err error) error { return err }

// meanwhile does something at the first byte of what is written.
type meanwhile struct {
	bytes.Buffer
	do func()
}

func (m *meanwhile) Write(p []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.Buffer.Write(p)
}

// TestBackupWhileSecretsChange: a backup has every document that the log named while
// it was made, although the secret is changed again and again.
func TestBackupWhileSecretsChange(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("secrets/app", "aes256")
	r.Allow(`permit (principal, action in [Action::"secret:read", Action::"secret:write"], resource);`)
	app := r.Enroll("app1")
	put := func(data string) {
		if _, err := r.Ask(app, &keyserver.Secret{Ask: secretwork.Ask{Operation: secretwork.Put, Key: "secrets/app", Path: "db", Data: []byte(data), Route: "vault"}}); err != nil {
			t.Error(err)
		}
	}
	put(`{"n":0}`)
	out := &meanwhile{do: func() {
		for i := range 5 {
			put(fmt.Sprintf(`{"n":%d}`, i+1))
		}
	}}
	signed, session, err := authn.ParseAuthorization(r.Authorization("POST", "/v1/admin/backup", nil))
	if err != nil {
		t.Fatal(err)
	}
	err = r.Server.With(t.Context(), func(ctx context.Context, c *keyserver.Core) error {
		trust, err := c.Trust()
		if err != nil {
			return err
		}
		caller, err := authn.NewAdminVerifier(r.Founded.Domain, r.Desc.TLS, clock.System()).Verify(c.Members(), trust.Revocations, authn.AdminRequest{
			Signed: signed, Session: session, Method: "POST", Target: "/v1/admin/backup",
		})
		if err == nil {
			_, err = c.Do(ctx, caller, &keyserver.MakeBackup{To: out})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := hierarchy.ReadBackup(&out.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	root := r.Open()
	defer root.Wipe()
	if err := b.Unlock(root); err != nil {
		t.Fatal(err)
	}
	defer b.Wipe()
	n := 0
	for item, err := range b.Items() {
		if err != nil {
			t.Fatal(err)
		}
		if item.Slot != nil && strings.HasPrefix(item.Slot.Key, "secret/") {
			n++
		}
	}
	if n != 6 {
		t.Errorf("%d slots of a secret that had 6 documents since the backup began", n)
	}
}
