// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// TestSealUnderLoad: a seal ends what runs, new requests hear that the server is
// sealed, and nothing reaches keys that are gone.
func TestSealUnderLoad(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	core := coreOf(t, r)
	c := r.Client(app.Identity())
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
				status, body := r.Do(c, "POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"k","plaintext":"aGVsbG8="}]}`), "")
				if status != 200 && (status != 503 || !bytes.Contains(body, []byte("sealed"))) {
					t.Errorf("around a seal: %d %s", status, body)
				}
			}
		})
	}
	for range 4 {
		if err := r.Server.Seal(t.Context()); err != nil {
			t.Error(err)
		}
		var racing sync.WaitGroup
		for range 2 {
			racing.Go(func() {
				if err := r.Server.Unseal(t.Context(), r.Open()); err != nil && !errors.Is(err, keyserver.ErrUnsealed) {
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
	r := keyservertest.New(t)
	core := coreOf(t, r)
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
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	r.Restart() // whatever a first run leaves for good is there now
	r.Halt()
	goroutines, files := settled(runtime.NumGoroutine), descriptors()
	for range 3 {
		r.Start(r.Open())
		r.Halt()
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

// TestClockSetBack: requests that were good before the clock was set back open
// no more, and clients that fetch the new descriptor go on.
func TestClockSetBack(t *testing.T) {
	m := clock.NewManual(time.Now())
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.Clock = m }})
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	old, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
	m.SetWall(m.Now().Add(-5 * time.Second))
	if status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/exchange", old, ""); status != 400 {
		t.Errorf("a request of before: %d %s", status, body)
	}
	r.Introduce()
	r.Want(app, "k", 0, "encrypt", "")
	// Renewed by age, the former descriptor still opens what is under way.
	before, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
	was := r.Signed
	m.Advance(13 * time.Hour)
	r.Introduce()
	if bytes.Equal(was, r.Signed) {
		t.Error("the descriptor is not renewed")
	}
	if status, body := r.Do(r.Client(app.Identity()), "POST", "/v1/exchange", before, ""); status != 401 || !strings.Contains(string(body), "expired") {
		t.Errorf("a request to the former descriptor: %d %s", status, body)
	}
}

// coreOf is the open core of a rig's server.
func coreOf(t *testing.T, r *keyservertest.Rig) (core *keyserver.Core) {
	t.Helper()
	if err := r.Server.With(t.Context(), func(_ context.Context, c *keyserver.Core) error { core = c; return nil }); err != nil {
		t.Fatal(err)
	}
	return core
}
