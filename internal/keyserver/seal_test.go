// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

const passphrase = "correct horse battery staple nine"

// cheap costs of a passphrase, for tests.
func cheap() root.Cost { return root.Cost{MemoryKiB: 19456, Passes: 2, Lanes: 1} }

// ask calls the control socket.
func (r *rig) ask(method, path string, body any) (int, keyserver.ControlStatus, string) {
	r.t.Helper()
	data, _ := json.Marshal(body)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.control)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, _ := http.NewRequestWithContext(r.t.Context(), method, "http://control"+path, bytes.NewReader(data))
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	var s keyserver.ControlStatus
	_ = json.Unmarshal(text, &s)
	return resp.StatusCode, s, string(text)
}

func TestUnsealWithPassphrase(t *testing.T) {
	pass := secret.Take([]byte(passphrase))
	r := newRigWith(t, setup{sealing: &root.Sealing{Passphrase: pass, Cost: cheap()}})
	if _, s, text := r.ask("GET", "/status", nil); !s.Sealed || s.Kind != "passphrase" {
		t.Errorf("at first: %s", text)
	}
	for name, body := range map[string]any{
		"wrong-passphrase": keyserver.UnsealRequest{Passphrase: []byte("not the passphrase")},
		"malformed":        map[string]string{"pasphrase": "eA=="},
		"refused":          keyserver.UnsealRequest{Share: []byte("claviger share")},
	} {
		status, _, text := r.ask("POST", "/unseal", body)
		if status == 200 || !strings.Contains(text, name) || strings.Contains(text, "not the pass") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, s, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Passphrase: []byte(passphrase)}); status != 200 || s.Sealed {
		t.Fatalf("unseal: %d %s", status, text)
	}
	r.introduce()
	if status, _, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Passphrase: []byte(passphrase)}); status != 409 {
		t.Errorf("a second unseal: %d %s", status, text)
	}
	if status, s, _ := r.ask("POST", "/seal", nil); status != 200 || !s.Sealed {
		t.Error("the server does not seal")
	}
	if status, _ := r.do(r.client(nil), "GET", "/v1/introduction", nil, ""); status != 503 {
		t.Errorf("a sealed server introduces itself: %d", status)
	}
	if status, s, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Passphrase: []byte(passphrase)}); status != 200 || s.Sealed {
		t.Errorf("unseal again: %d %s", status, text)
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
	r := newRigWith(t, setup{sealing: &root.Sealing{Threshold: 2, Recipients: recipients}})
	own := shares(t, filepath.Join(r.dir, "root"), ids)
	elsewhere := filepath.Join(t.TempDir(), "root")
	made, err := root.Create(elsewhere, 1, root.Sealing{Threshold: 2, Recipients: recipients})
	if err != nil {
		t.Fatal(err)
	}
	made.Wipe()
	foreign := shares(t, elsewhere, ids)
	if _, s, text := r.ask("GET", "/status", nil); s.Need != 2 || s.Have != 0 || s.Kind != "shares" {
		t.Errorf("at first: %s", text)
	}
	if status, s, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Share: own[0]}); status != 200 || s.Have != 1 || !s.Sealed {
		t.Fatalf("the first share: %d %s", status, text)
	}
	for name, share := range map[string][]byte{
		"again": own[0], "again, with a line break more": append(bytes.Clone(own[0]), '\n'),
		"foreign": foreign[1], "damaged": bytes.Replace(own[1], []byte("a"), []byte("b"), 1),
	} {
		if status, _, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Share: share}); status != 409 {
			t.Errorf("a share %s: %d %s", name, status, text)
		}
	}
	if status, _, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Passphrase: []byte(passphrase)}); status == 200 {
		t.Errorf("a passphrase: %s", text)
	}
	if _, s, _ := r.ask("GET", "/status", nil); s.Have != 1 {
		t.Errorf("after what was refused %d shares are there", s.Have)
	}
	// Two custodians at once: one opens the server, the other hears that it is.
	var both sync.WaitGroup
	for _, share := range own[1:] {
		both.Go(func() {
			if status, _, text := r.ask("POST", "/unseal", keyserver.UnsealRequest{Share: share}); status != 200 && status != 409 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	both.Wait()
	if _, s, text := r.ask("GET", "/status", nil); s.Sealed || s.Have != 0 {
		t.Errorf("at the end: %s", text)
	}
}

// TestSealUnderLoad: a seal ends what runs, new requests hear that the server is
// sealed, and nothing reaches keys that are gone.
func TestSealUnderLoad(t *testing.T) {
	r := newRig(t)
	r.createKey("k", authority.AES256)
	app := r.enroll("app1")
	r.allow(`permit(principal, action, resource);`)
	core := r.server.OpenCore()
	c := r.client(app.identity())
	over := make(chan struct{})
	var busy sync.WaitGroup
	for range 6 {
		busy.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				status, body := r.do(c, "POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"k","plaintext":"aGVsbG8="}]}`), "")
				if status != 200 && (status != 503 || !bytes.Contains(body, []byte("sealed"))) {
					t.Errorf("around a seal: %d %s", status, body)
				}
			}
		})
	}
	for range 4 {
		if err := r.server.Seal(t.Context()); err != nil {
			t.Error(err)
		}
		var racing sync.WaitGroup
		for range 2 {
			racing.Go(func() {
				if err := r.server.Unseal(t.Context(), r.open()); err != nil && !errors.Is(err, keyserver.ErrUnsealed) {
					t.Error(err)
				}
			})
		}
		racing.Wait()
	}
	close(over)
	busy.Wait()
	trust := authn.LocalCaller("test")
	if _, err := core.Do(t.Context(), trust, &keyserver.Certify{Enroll: &wire.Enroll{}}); !errors.Is(err, keyserver.ErrSealed) {
		t.Errorf("a core that was closed answers: %v", err)
	}
}

// TestCallersAreProved: the choke point answers only whom a verifier made, and
// the server's own process gets no keys either.
func TestCallersAreProved(t *testing.T) {
	r := newRig(t)
	core := r.server.OpenCore()
	for name, caller := range map[string]*authn.Caller{
		"nobody": nil, "a forged workload": {Kind: authn.Workload, ID: "spiffe://test/workload/app1"},
		"a forged admin": {Kind: authn.Admin, ID: "ann"}, "the process itself": authn.LocalCaller("test"),
	} {
		for _, op := range []keyserver.Op{&keyserver.List{}, &keyserver.Use{Operation: "sign"}, &keyserver.ReadStatus{}, &keyserver.Propose{}} {
			if a, err := core.Do(t.Context(), caller, op); a != nil || !errors.Is(err, keyserver.ErrUnproved) {
				t.Errorf("%s, %T: %v, %v", name, op, a, err)
			}
		}
	}
}

// TestNothingIsLeft: a server that ended holds no goroutine and no descriptor.
func TestNothingIsLeft(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	r := newRig(t)
	r.createKey("k", authority.AES256)
	r.restart() // whatever a first run leaves for good is there now
	r.halt()
	goroutines, files := settled(runtime.NumGoroutine), descriptors()
	for range 3 {
		r.start(r.open())
		r.halt()
	}
	if now := settled(runtime.NumGoroutine); now > goroutines {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after\n%s", goroutines, now, buf[:runtime.Stack(buf, true)])
	}
	if now := descriptors(); now > files {
		t.Errorf("%d descriptors before, %d after", files, now)
	}
}

// settled reads a count until it no longer falls.
func settled(count func() int) int {
	n := count()
	for range 50 {
		runtime.Gosched()
		runtime.GC()
		n = min(n, count())
	}
	return n
}

// TestReplayMemory: genuine requests are remembered by the boot clock, others not
// at all; its bounds hold.
func TestReplayMemory(t *testing.T) {
	m := clock.NewManual(time.Now())
	r := keyserver.NewReplays(m, 3, 10)
	at := wire.Epoch{Generation: 1, Position: 5}
	id := func(n byte) wire.Hash { return wire.Hash{n} }
	begin := func(n byte, e wire.Epoch) ([]byte, error) { return keyserver.Begin(r, id(n), e) }
	if _, err := begin(1, at); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(1, at); !errors.Is(err, keyserver.ErrBusy) {
		t.Errorf("while it runs: %v", err)
	}
	keyserver.Finish(r, id(1), nil, at)
	if _, err := begin(1, at); err != nil {
		t.Errorf("after it failed: %v", err)
	}
	keyserver.Verified(r, id(1), time.Minute)
	keyserver.Finish(r, id(1), []byte("answer"), at)
	if a, err := begin(1, at); err != nil || string(a) != "answer" {
		t.Errorf("a repeat: %q %v", a, err)
	}
	if _, err := begin(1, wire.Epoch{Generation: 1, Position: 6}); !errors.Is(err, keyserver.ErrRefused) {
		t.Errorf("a repeat after the head moved: %v", err)
	}
	for _, n := range []byte{2, 3} {
		if _, err := begin(n, at); err != nil {
			t.Fatal(err)
		}
		keyserver.Verified(r, id(n), time.Minute)
		keyserver.Finish(r, id(n), []byte("answer"), at)
	}
	if _, err := begin(4, at); !errors.Is(err, keyserver.ErrBusy) {
		t.Errorf("one more than it holds: %v", err)
	}
	if seen, answers, size := keyserver.Remembered(r); seen != 3 || answers != 1 || size != 6 {
		t.Errorf("holds %d requests, %d answers of %d bytes", seen, answers, size)
	}
	if _, err := begin(1, at); !errors.Is(err, keyserver.ErrRefused) {
		t.Errorf("a repeat whose answer is gone: %v", err)
	}
	m.SetWall(time.Now().Add(time.Hour))
	m.Advance(59 * time.Second)
	if _, err := begin(1, at); err == nil {
		t.Error("setting the wall clock makes the server forget")
	}
	m.Advance(10 * time.Second)
	if seen, answers, size := keyserver.Remembered(r); seen != 0 || answers != 0 || size != 0 {
		t.Errorf("after all expired: %d, %d, %d", seen, answers, size)
	}
}

// TestClockSetBack: requests that were good before the clock was set back open
// no more, and clients that fetch the new descriptor go on.
func TestClockSetBack(t *testing.T) {
	m := clock.NewManual(time.Now())
	r := newRigWith(t, setup{serve: func(o *keyserver.Options) { o.Clock = m }})
	r.createKey("k", authority.AES256)
	app := r.enroll("app1")
	r.allow(`permit(principal, action, resource);`)
	old, _ := r.request(app, dataKey("k", "encrypt"), 30*time.Second)
	m.SetWall(m.Now().Add(-5 * time.Second))
	if status, body := r.do(r.client(app.identity()), "POST", "/v1/exchange", old, ""); status != 400 {
		t.Errorf("a request of before: %d %s", status, body)
	}
	r.introduce()
	r.want(app, "k", 0, "encrypt", "")
	// Renewed by age, the former descriptor still opens what is under way.
	before, _ := r.request(app, dataKey("k", "encrypt"), 30*time.Second)
	was := r.signed
	m.Advance(13 * time.Hour)
	r.introduce()
	if bytes.Equal(was, r.signed) {
		t.Error("the descriptor is not renewed")
	}
	if status, body := r.do(r.client(app.identity()), "POST", "/v1/exchange", before, ""); status != 401 || !strings.Contains(string(body), "expired") {
		t.Errorf("a request to the former descriptor: %d %s", status, body)
	}
}
