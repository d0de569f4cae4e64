// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// gate stands before a relay, counts what passes, lets no question through while it is
// shut, and changes each answer while it is evil.
type gate struct {
	shut, evil                atomic.Bool
	questions, reads, parcels atomic.Int64
}

// spoiler changes the last byte of what is written.
type spoiler struct{ http.ResponseWriter }

func (s spoiler) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s spoiler) Write(p []byte) (int, error) {
	bad := bytes.Clone(p)
	bad[len(bad)-1]++
	return s.ResponseWriter.Write(bad)
}

func (g *gate) serve(ctx context.Context, l net.Listener, config *tls.Config, relay http.Handler) error {
	server := &http.Server{TLSConfig: config, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/exchange"):
			g.questions.Add(1)
			if g.shut.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			if g.evil.Load() {
				relay.ServeHTTP(spoiler{w}, r)
				return
			}
		case strings.HasSuffix(r.URL.Path, "/receive"):
			g.reads.Add(1)
		case strings.Contains(r.URL.Path, "/parcels/") && r.Method == http.MethodPut:
			g.parcels.Add(1)
		}
		relay.ServeHTTP(w, r)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	<-ctx.Done()
	err := server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = served
	}
	return err
}

// later is the system's clock with a boot clock that a test puts forward.
type later struct {
	clock.Clock
	by atomic.Int64
}

func (l *later) Boot() time.Duration { return l.Clock.Boot() + time.Duration(l.by.Load()) }

// ahead is a client with a standing request, over one relay with a gate.
type ahead struct {
	*real
	gate   *gate
	at     []string
	clock  *later
	client *client.Client
	key    wire.KeyID
	stop   func() // everything but the client
}

func newAhead(t *testing.T) *ahead {
	t.Helper()
	a := &ahead{gate: &gate{}, clock: &later{Clock: clock.System()}}
	var stopRelay func()
	r, at := carried(t, func(id wire.DomainID) []string {
		address, stop := startRelayBehind(t, id, a.gate)
		stopRelay = stop
		return []string{address}
	})
	a.real = r
	a.at = at
	a.client, a.key = a.standby("app", "payments/cards")
	a.stop = func() { r.stop(); stopRelay() }
	return a
}

// standby is a client with a standing request for a key of its own.
func (a *ahead) standby(name, keyName string) (*client.Client, wire.KeyID) {
	a.t.Helper()
	key := admin.NewKey(keyName, authority.AES256, authority.Settings{Lease: 3600, Staleness: 900}, "")
	a.propose(authority.KindKeyCreate, key)
	a.allow("spiffe://acme/workload/"+name, keyName)
	var p *client.Profile
	line := a.invite(name, a.at...)
	a.until("enrolment", func() (ok bool) {
		var err error
		p, err = client.Enroll(a.t.Context(), filepath.Join(a.t.TempDir(), "profile"), line, client.EnrollOptions{})
		return err == nil
	})
	c, err := client.Dial(a.t.Context(), p, client.Options{Clock: a.clock})
	a.must(err)
	a.t.Cleanup(func() { a.must(c.Close()) })
	before := a.gate.reads.Load()
	_, err = c.Encrypt(a.t.Context(), keyName, nil, client.EncryptOptions{})
	a.must(err)
	// It reads its mailbox once its request was answered, and that is kept by then.
	a.until("the standing request", func() bool { return a.gate.reads.Load() > before })
	return c, key.ID
}

// version is the one that the client seals with, 0 if it can't.
func (a *ahead) version() uint64 {
	a.t.Helper()
	sealed, err := a.client.Encrypt(a.t.Context(), "payments/cards", []byte("4111"), client.EncryptOptions{})
	if err != nil {
		if !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, client.ErrStale) {
			a.t.Fatal(err)
		}
		return 0
	}
	info, err := envelope.Inspect(bytes.NewReader(sealed))
	a.must(err)
	return info.Slots[0].Version
}

// TestCarriedAheadOfNeed: after a rotation the new version comes by itself, to a
// client that can ask nobody; with every server gone it goes on until no word is
// recent enough.
func TestCarriedAheadOfNeed(t *testing.T) {
	a := newAhead(t)
	a.gate.shut.Store(true)
	a.propose(authority.KindKeyRotate, authority.KeyRef{ID: a.key})
	a.until("the new version", func() bool { return a.version() == 2 })
	a.stop()
	if v := a.version(); v != 2 {
		t.Errorf("version %d with every server gone", v)
	}
	a.clock.by.Store(int64(14 * time.Minute))
	if v := a.version(); v != 2 {
		t.Errorf("version %d within the staleness bound", v)
	}
	a.clock.by.Store(int64(16 * time.Minute))
	if _, err := a.client.Encrypt(t.Context(), "payments/cards", nil, client.EncryptOptions{}); !errors.Is(err, client.ErrStale) {
		t.Errorf("beyond the staleness bound: %v", err)
	}
	a.clock.by.Store(int64(61 * time.Minute))
	if v := a.version(); v != 0 {
		t.Errorf("version %d after the lease", v)
	}
}

// TestCarriedAheadEndsWithRun: servers keep nothing for a client that has ended.
func TestCarriedAheadEndsWithRun(t *testing.T) {
	a := newAhead(t)
	kept := func() int {
		s, err := a.admin.Status(t.Context())
		a.must(err)
		return s.Standing
	}
	if n := kept(); n != 1 {
		t.Fatalf("%d standing requests", n)
	}
	a.must(a.client.Close())
	if n := kept(); n != 0 {
		t.Errorf("%d standing requests of a client that has ended", n)
	}
}

// TestEvilRelay: of two relays one changes what it carries. The client reaches its
// keys, and the log says which one it is.
func TestEvilRelay(t *testing.T) {
	g := &gate{}
	g.evil.Store(true)
	r, at := carried(t, func(id wire.DomainID) []string {
		evil, _ := startRelayBehind(t, id, g)
		honest, _ := startRelay(t, id)
		return []string{evil, honest}
	})
	r.propose(authority.KindKeyCreate, admin.NewKey("payments/cards", authority.AES256, authority.Settings{Lease: 3600, Staleness: 900}, ""))
	r.allow("spiffe://acme/workload/app", "payments/cards")
	line, text := r.invite("app", at...), &lines{}
	log := slog.New(slog.NewTextHandler(text, nil))
	var p *client.Profile
	r.until("enrolment", func() (ok bool) {
		var err error
		p, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "profile"), line, client.EnrollOptions{Log: log})
		return err == nil
	})
	c, err := client.Dial(t.Context(), p, client.Options{Log: log})
	r.must(err)
	defer c.Close()
	if g.questions.Load() == 0 {
		t.Fatal("the evil relay was not asked")
	}
	text.take()
	if _, err := c.Encrypt(t.Context(), "payments/cards", nil, client.EncryptOptions{}); err != nil {
		t.Errorf("Encrypt = %v", err)
	}
	if said := text.take(); !strings.Contains(said, at[0]) || strings.Contains(said, at[1]) || !strings.Contains(said, "does not tell the truth") {
		t.Errorf("the log says %q", said)
	}
}

// lines is a log in memory.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// TestCarriedRevocationEndsStanding: once its key is revoked, a client gets nothing
// more that it doesn't ask for.
func TestCarriedRevocationEndsStanding(t *testing.T) {
	a := newAhead(t)
	_, other := a.standby("other", "payments/other")
	a.gate.shut.Store(true)
	a.propose(authority.KindKeyDisable, authority.KeyRef{ID: a.key, Reason: "test"})
	a.until("the revocation", func() bool { return a.version() == 0 })
	a.until("the end of the standing request", func() bool {
		s, err := a.admin.Status(t.Context())
		return err == nil && s.Standing == 1
	})
	a.propose(authority.KindKeyEnable, authority.KeyRef{ID: a.key, Reason: "test"})
	a.propose(authority.KindKeyRotate, authority.KeyRef{ID: a.key})
	a.propose(authority.KindKeyRotate, authority.KeyRef{ID: other})
	// What the other client gets shows that the server has looked at the first.
	a.until("the other's release", func() bool { return a.gate.parcels.Load() > 0 })
	if v, n := a.version(), a.gate.parcels.Load(); v != 0 || n != 1 {
		t.Errorf("version %d, %d releases sent where one was asked for", v, n)
	}
	a.gate.shut.Store(false)
	a.until("the new version, asked for", func() bool { return a.version() == 2 })
}
