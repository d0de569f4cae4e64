// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/client/internal/keep"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// TestOneRequestForMany: goroutines that want one key share one request.
func TestOneRequestForMany(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, err := w.client.Encrypt(t.Context(), "payments/cards", []byte("4111"), EncryptOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(w.server.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestConcurrentUse has many partitions, a small cache, news, revocations and a
// moving epoch at once. Nothing but a right answer or ErrClosed may come out.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	p, err := OpenProfile(w.profile.Dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), p, Options{Clock: w.clock, CacheBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	reroute(c, wayTo(w.server))
	var group sync.WaitGroup
	var done atomic.Int64
	for i := range 8 {
		group.Go(func() {
			for j := range 10 {
				o := EncryptOptions{Partition: fmt.Appendf(nil, "p%d", (i+j)%12)}
				sealed, err := c.Encrypt(t.Context(), "payments/cards", []byte("4111"), o)
				if err != nil {
					t.Error(err)
					return
				}
				got, _, err := c.Decrypt(t.Context(), sealed, DecryptOptions{Keys: []string{"payments/cards"}, Partition: o.Partition})
				if err != nil || string(got) != "4111" {
					t.Errorf("Decrypt = %q, %v", got, err)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Go(func() {
		for done.Load() < 40 && !t.Failed() {
			w.domain.Tick()
			if err := c.Refresh(t.Context()); err != nil && !errors.Is(err, ErrRollback) {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Encrypt after Close = %v", err)
	}
	if n := c.cache.Len(); n != 0 {
		t.Errorf("%d leases after Close", n)
	}
}

// TestClosed: every call says so.
func TestClosed(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	if err := errors.Join(w.client.Close(), w.client.Close()); err != nil {
		t.Fatal(err)
	}
	_, keys := w.client.Keys(t.Context())
	_, use := w.client.Use(t.Context(), []UseItem{{Operation: "mac", Key: "k"}})
	for name, err := range map[string]error{
		"Decrypt": w.open(sealed), "Keys": keys, "Use": use, "Renew": w.client.Renew(t.Context()), "Refresh": w.client.Refresh(t.Context()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s = %v", name, err)
		}
	}
}

// TestFailover: the second server answers when the first is down, lies or has
// fallen behind; and the gravest reason is told when none does.
func TestFailover(t *testing.T) {
	for name, spoil := range map[string]func(*fakeserver.Server){
		"down":  func(s *fakeserver.Server) { s.Refuse(errDown) },
		"lies":  func(s *fakeserver.Server) { s.Lie.Grant = func(g *wire.Grant) { g.Client += "x" } },
		"stale": func(s *fakeserver.Server) { s.Lie.Grant = func(g *wire.Grant) { g.Epoch.Position-- } },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			two := w.domain.Server("two")
			sealed := w.seal("4111")
			w.client = w.dial(w.server, two)
			second := w.client.net.Order()[1]
			spoil(w.server)
			if err := w.open(sealed); err != nil {
				t.Fatal(err)
			}
			if w.client.net.Order()[0] != second {
				t.Error("the server that answered is not asked first")
			}
			two.Refuse(errDown)
			w.client = w.dial(two, w.server)
			want := map[string]error{"down": ErrUnavailable, "lies": ErrIntegrity, "stale": ErrRollback}[name]
			if err := w.open(sealed); !errors.Is(err, want) {
				t.Errorf("with both: %v, want %v", err, want)
			}
		})
	}
}

// TestServerRestart: new keys, new descriptor; the client finds out by itself.
func TestServerRestart(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	w.server.Restart()
	if err := w.open(sealed); err != nil {
		t.Error(err)
	}
}

// TestDescriptorEnds: requests are not sealed to one that has ended.
func TestDescriptorEnds(t *testing.T) {
	w := newWorld(t)
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease = 60 })
	sealed := w.seal("4111")
	at := w.client.net.Order()[0]
	peer := at.Peers()[0]
	w.advance(5 * time.Hour)
	if err := w.open(sealed); err != nil || at.Peers()[0] != peer {
		t.Fatalf("introduced again too early, or %v", err)
	}
	w.advance(20 * time.Hour)
	w.profile = w.enrol("app")
	if w.client.view.Usable(peer) {
		t.Error("a descriptor is usable after its end")
	}
	if err := w.client.net.Introduce(t.Context()); err != nil || at.Peers()[0] == peer {
		t.Errorf("not introduced again: %v", err)
	}
}

// TestReceipts: each grant is kept, as the server signed it, and only so many.
func TestReceipts(t *testing.T) {
	w := newWorld(t)
	w.seal("4111")
	dir := filepath.Join(w.profile.Dir, keep.DirReceipts)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d receipts, %v", len(files), err)
	}
	data, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	if g, err := wire.ParseGrant(data, w.server.Key().Public()); err != nil || g.Client != app {
		t.Errorf("receipt: %+v, %v", g, err)
	}
	for i := range keep.MaxReceipts + 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%013d-x.cbor", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.client.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadDir(dir)
	if err != nil || len(after) != keep.MaxReceipts || after[len(after)-1].Name() != files[0].Name() {
		t.Errorf("%d receipts kept, the newest %s, %v", len(after), after[len(after)-1].Name(), err)
	}
}

// TestReason and the items of a request are what the caller asked for.
func TestRequestSaysWhatWasAsked(t *testing.T) {
	w := newWorld(t)
	w.client.options.Reason = "invoice run"
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{Partition: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	r := w.server.Requests()[0]
	item := r.Items[0]
	if r.Reason != "invoice run" || len(r.Items) != 1 || item.Name != "payments/cards" || string(item.Partition) != "p" ||
		item.Purpose != wire.PurposeData || strings.Join(item.Operations, ",") != "encrypt" || item.Version != 0 {
		t.Errorf("request %+v", r)
	}
	if _, err := Dial(t.Context(), w.profile, Options{Reason: strings.Repeat("x", wire.MaxReason+1)}); err == nil {
		t.Error("a reason that no server takes is taken")
	}
}

// TestFiles go through one file to another.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	plain := bytes.Repeat([]byte("claviger"), 1<<18)
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	sealed, opened := open("sealed"), open("opened")
	src := io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain)))
	size, err := w.client.EncryptFile(ctx, "payments/cards", sealed, src, EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n, by, err := w.client.DecryptFile(ctx, opened, io.NewSectionReader(sealed, 0, size), DecryptOptions{Keys: []string{"payments/cards"}})
	if err != nil || n != int64(len(plain)) || by.Key != "payments/cards" {
		t.Fatalf("DecryptFile = %d by %+v, %v", n, by, err)
	}
	got, err := os.ReadFile(opened.Name())
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("another file came back, %v", err)
	}
}

// TestMalformedNames never leave the machine.
func TestMalformedNames(t *testing.T) {
	w := newWorld(t)
	long := make([]byte, wire.MaxPartition+1)
	for _, name := range []string{"", "Payments", "payments//cards", "../cards", strings.Repeat("x", 129)} {
		if _, err := w.client.Encrypt(t.Context(), name, nil, EncryptOptions{}); err == nil {
			t.Errorf("Encrypt with key %q", name)
		}
		if _, err := w.client.SealField(t.Context(), name, nil, EncryptOptions{}); err == nil {
			t.Errorf("SealField with key %q", name)
		}
	}
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{Partition: long}); err == nil {
		t.Error("Encrypt with a partition of 257 bytes")
	}
	if n := len(w.server.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
