// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/root"
	"claviger/internal/secret"
)

const passphrase = "correct horse battery staple nine"

// cheap costs of a passphrase, for tests.
func cheap() root.Cost { return root.Cost{MemoryKiB: 19456, Passes: 2, Lanes: 1} }

// ask calls the control socket.
func ask(r *keyservertest.Rig, method, path string, body any) (int, api.ControlStatus, string) {
	r.T.Helper()
	data, _ := json.Marshal(body)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.Control)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, _ := http.NewRequestWithContext(r.T.Context(), method, "http://control"+path, bytes.NewReader(data))
	resp, err := c.Do(req)
	if err != nil {
		r.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	var s api.ControlStatus
	_ = json.Unmarshal(text, &s)
	return resp.StatusCode, s, string(text)
}

func TestUnsealWithPassphrase(t *testing.T) {
	pass := secret.Take([]byte(passphrase))
	r := keyservertest.NewWith(t, keyservertest.Setup{Sealing: &root.Sealing{Passphrase: pass, Cost: cheap()}})
	if _, s, text := ask(r, "GET", "/status", nil); !s.Sealed || s.Kind != "passphrase" {
		t.Errorf("at first: %s", text)
	}
	for name, body := range map[string]any{
		"wrong-passphrase": api.UnsealRequest{Passphrase: []byte("not the passphrase")},
		"malformed":        map[string]string{"pasphrase": "eA=="},
		"refused":          api.UnsealRequest{Share: []byte("claviger share")},
	} {
		status, _, text := ask(r, "POST", "/unseal", body)
		if status == 200 || !strings.Contains(text, name) || strings.Contains(text, "not the pass") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, s, text := ask(r, "POST", "/unseal", api.UnsealRequest{Passphrase: []byte(passphrase)}); status != 200 || s.Sealed {
		t.Fatalf("unseal: %d %s", status, text)
	}
	r.Introduce()
	if status, _, text := ask(r, "POST", "/unseal", api.UnsealRequest{Passphrase: []byte(passphrase)}); status != 409 {
		t.Errorf("a second unseal: %d %s", status, text)
	}
	if status, s, _ := ask(r, "POST", "/seal", nil); status != 200 || !s.Sealed {
		t.Error("the server does not seal")
	}
	if status, _ := r.Do(r.Client(nil), "GET", "/v1/introduction", nil, ""); status != 503 {
		t.Errorf("a sealed server introduces itself: %d", status)
	}
	if status, s, text := ask(r, "POST", "/unseal", api.UnsealRequest{Passphrase: []byte(passphrase)}); status != 200 || s.Sealed {
		t.Errorf("unseal again: %d %s", status, text)
	}
}

// TestUnsealFromKeyFile: a server that was sealed at run time reads the file of
// its configuration again, when it is told to and not before.
func TestUnsealFromKeyFile(t *testing.T) {
	r := keyservertest.New(t)
	if status, _, _ := ask(r, "POST", "/seal", nil); status != 200 {
		t.Fatal("the server does not seal")
	}
	if status, _, text := ask(r, "POST", "/unseal", api.UnsealRequest{KeyFile: true}); status != 409 || !strings.Contains(text, "names no file") {
		t.Errorf("without one: %d %s", status, text)
	}
	r.Restart()
	reads, broken := 0, error(os.ErrNotExist)
	key := r.Key()
	r.Server.UnsealFrom(func() (root.Unlock, error) {
		reads++
		return root.Unlock{Key: key.Clone()}, broken
	})
	ask(r, "POST", "/seal", nil)
	if status, s, text := ask(r, "POST", "/unseal", struct{}{}); status == 200 || !strings.Contains(text, os.ErrNotExist.Error()) || s.Sealed {
		t.Errorf("while the file is away: %d %s", status, text)
	}
	broken = nil
	for _, body := range []any{map[string]any{"keyfile": false}, map[string]any{"kefile": true}, api.UnsealRequest{KeyFile: true, Passphrase: []byte("x")}, nil} {
		if status, _, text := ask(r, "POST", "/unseal", body); status != 400 {
			t.Errorf("%v: %d %s", body, status, text)
		}
	}
	for _, body := range []any{struct{}{}, api.UnsealRequest{KeyFile: true}} {
		before := reads
		if status, s, text := ask(r, "POST", "/unseal", body); status != 200 || s.Sealed || reads != before+1 {
			t.Errorf("%v: %d %s", body, status, text)
		}
		if status, s, _ := ask(r, "POST", "/seal", nil); status != 200 || !s.Sealed {
			t.Error("the server does not seal")
		}
	}
}

// shares decrypts what custodians hold.
func shares(t *testing.T, dir string, ids []*age.HybridIdentity) [][]byte {
	t.Helper()
	var out [][]byte
	for i, id := range ids {
		file, err := root.SealedShare(dir, i+1)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), id)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(plain)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

func custodians(t *testing.T, n int) ([]*age.HybridIdentity, []string) {
	t.Helper()
	var ids []*age.HybridIdentity
	var recipients []string
	for range n {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		ids, recipients = append(ids, id), append(recipients, id.Recipient().String())
	}
	return ids, recipients
}

func TestUnsealWithShares(t *testing.T) {
	ids, recipients := custodians(t, 3)
	r := keyservertest.NewWith(t, keyservertest.Setup{Sealing: &root.Sealing{Threshold: 2, Recipients: recipients}})
	own := shares(t, filepath.Join(r.Dir, "root"), ids)
	elsewhere := filepath.Join(t.TempDir(), "root")
	made, err := root.Create(elsewhere, 1, root.Sealing{Threshold: 2, Recipients: recipients})
	if err != nil {
		t.Fatal(err)
	}
	made.Wipe()
	foreign := shares(t, elsewhere, ids)
	if _, s, text := ask(r, "GET", "/status", nil); s.Need != 2 || s.Have != 0 || s.Kind != "shares" {
		t.Errorf("at first: %s", text)
	}
	if status, s, text := ask(r, "POST", "/unseal", api.UnsealRequest{Share: own[0]}); status != 200 || s.Have != 1 || !s.Sealed {
		t.Fatalf("the first share: %d %s", status, text)
	}
	for name, share := range map[string][]byte{
		"again": own[0], "again, with a line break more": append(bytes.Clone(own[0]), '\n'),
		"foreign": foreign[1], "damaged": bytes.Replace(own[1], []byte("a"), []byte("b"), 1),
	} {
		if status, _, text := ask(r, "POST", "/unseal", api.UnsealRequest{Share: share}); status != 409 {
			t.Errorf("a share %s: %d %s", name, status, text)
		}
	}
	if status, _, text := ask(r, "POST", "/unseal", api.UnsealRequest{Passphrase: []byte(passphrase)}); status == 200 {
		t.Errorf("a passphrase: %s", text)
	}
	if _, s, _ := ask(r, "GET", "/status", nil); s.Have != 1 {
		t.Errorf("after what was refused %d shares are there", s.Have)
	}
	// Two custodians at once: one opens the server, the other hears that it is.
	var both sync.WaitGroup
	for _, share := range own[1:] {
		both.Go(func() {
			if status, _, text := ask(r, "POST", "/unseal", api.UnsealRequest{Share: share}); status != 200 && status != 409 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	both.Wait()
	if _, s, text := ask(r, "GET", "/status", nil); s.Sealed || s.Have != 0 {
		t.Errorf("at the end: %s", text)
	}
}
