// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"errors"
	"testing"

	"claviger/internal/authority"
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
