// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// twin signs as the rig's server does: what a copy of it could say.
func twin(r *keyservertest.Rig) crypto.Signer {
	r.T.Helper()
	secret := r.Open()
	defer secret.Wipe()
	seals, err := datadir.DeriveSeals(secret, r.Founded.Domain)
	if err != nil {
		r.T.Fatal(err)
	}
	defer seals.Wipe()
	signer, err := datadir.Dir(r.Dir).Signer(r.Founded.Domain, seals.Local)
	if err != nil {
		r.T.Fatal(err)
	}
	return signer
}

func statementOf(r *keyservertest.Rig, by crypto.Signer, e wire.Epoch, head wire.Hash) []byte {
	r.T.Helper()
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(wire.Statement{
		Type: wire.TypeStatement, Domain: r.Founded.Domain, Server: wire.ServerIDOf(by.Public()), Epoch: e, Head: head,
		Issued: clock.System().Now().UnixMilli(),
	}), by)
	if err != nil {
		r.T.Fatal(err)
	}
	return signed
}

type statusJSON struct {
	Contradicting []string `json:"contradicting_servers"`
	Standing      *int     `json:"standing_requests"`
	Problems      []string `json:"problems"`
}

func statusOf(r *keyservertest.Rig) (out statusJSON) {
	r.T.Helper()
	status, body := r.AsAdmin("GET", "/v1/admin/status", nil)
	if err := json.Unmarshal(body, &out); err != nil || status != 200 {
		r.T.Fatalf("status: %d %s", status, body)
	}
	return out
}

// TestForkStopsTheServer: shown another head at a known epoch by a client, the
// server keeps the proof and stops, also after a restart; people still see why, and
// can act.
func TestForkStopsTheServer(t *testing.T) {
	r, _, w := held(t, "app1")
	ask := func(statement []byte) int {
		_, status := request(r, w[0], func(req *wire.Request) {
			req.Items, req.Statement = []wire.Item{keyservertest.DataKey("k", "encrypt")}, statement
		})
		return status
	}
	signer, state := twin(r), r.Replay()
	if status := ask(statementOf(r, signer, state.Epoch, state.Head)); status != 200 {
		t.Errorf("a true statement: %d", status)
	}
	if s := statusOf(r); s.Contradicting == nil || len(s.Contradicting) != 0 || s.Standing == nil {
		t.Errorf("status before: %+v", s)
	}
	if status := ask(statementOf(r, signer, state.Epoch, wire.Hash{66})); status != 503 {
		t.Errorf("a fork: %d", status)
	}
	for range 2 {
		if status, _ := r.Do(r.Client(nil), "GET", "/v1/statement", nil, ""); status != 503 {
			t.Errorf("a statement of a server that stopped: %d", status)
		}
		if status := ask(nil); status != 503 {
			t.Errorf("a release of a server that stopped: %d", status)
		}
		s := statusOf(r)
		if len(s.Contradicting) != 1 || s.Contradicting[0] != r.Founded.Server.String() || !strings.Contains(fmt.Sprint(s.Problems), "two histories") {
			t.Errorf("status: %+v", s)
		}
		r.CreateKey(fmt.Sprint("made-by-people-", r.Replay().Epoch.Position), authority.AES256)
		r.Restart()
	}
	if files, err := os.ReadDir(filepath.Join(r.Dir, "proofs")); err != nil || len(files) != 1 {
		t.Errorf("%d proofs: %v", len(files), err)
	}
	if r.Leaves("fork") != 1 {
		t.Errorf("%d alarms in the audit log", r.Leaves("fork"))
	}
}

// TestBehindStopsTheServer: shown a word of its own that its store doesn't give, it
// stops two intervals later.
func TestBehindStopsTheServer(t *testing.T) {
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.StatementEvery = 50 * time.Millisecond }})
	r.CreateKey("k", authority.AES256)
	r.Allow(`permit(principal, action, resource);`)
	w := r.Enroll("app1")
	w.NewMailbox()
	state := r.Replay()
	state.Epoch.Position++
	late := statementOf(r, twin(r), state.Epoch, wire.Hash{66})
	request(r, w, func(req *wire.Request) {
		req.Items, req.Statement = []wire.Item{keyservertest.DataKey("k", "encrypt")}, late
	})
	for n := 0; ; n++ {
		status, _ := r.Do(r.Client(nil), "GET", "/v1/statement", nil, "")
		if status == 503 {
			break
		}
		if n == 600 {
			t.Fatal("it goes on")
		}
		<-time.After(50 * time.Millisecond)
	}
	for n := 0; r.Leaves("behind") != 1; n++ {
		if n == 600 {
			t.Fatalf("%d alarms", r.Leaves("behind"))
		}
		<-time.After(50 * time.Millisecond)
	}
	if s := statusOf(r); !strings.Contains(fmt.Sprint(s.Problems), "behind what a server has stated") {
		t.Errorf("status: %+v", s)
	}
}
