// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/ways"
	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// start is the wall time at which tests begin.
var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const app = "spiffe://acme/workload/app"

// world is a domain with one server, one key and one enrolled client.
type world struct {
	t       *testing.T
	clock   *clock.Manual // the client's
	remote  *clock.Manual // the servers'
	domain  *fakeserver.Domain
	server  *fakeserver.Server
	key     *fakeserver.Key
	profile *Profile
	client  *Client
}

// advance moves everybody's clocks.
func (w *world) advance(d time.Duration) {
	w.clock.Advance(d)
	w.remote.Advance(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(start), remote: clock.NewManual(start)}
	w.domain = fakeserver.New(t, fakeserver.Options{Clock: w.remote})
	w.server = w.domain.Server("one")
	w.key = w.domain.AddKey("payments/cards")
	w.profile = w.enrol("app")
	w.client = w.dial()
	return w
}

func (w *world) enrol(path string) *Profile {
	w.t.Helper()
	in := w.domain.Invite(path, w.server.Listen())
	p, err := Enroll(w.t.Context(), filepath.Join(w.t.TempDir(), "profile"), in.Text(), EnrollOptions{Clock: w.clock})
	if err != nil {
		w.t.Fatalf("Enroll: %v", err)
	}
	return p
}

// dial opens the profile as a new process would and leads it to the servers
// without a network between: the first of w's own if none is given.
func (w *world) dial(servers ...*fakeserver.Server) *Client {
	w.t.Helper()
	p, err := OpenProfile(w.profile.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := Dial(w.t.Context(), p, Options{Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	if len(servers) == 0 {
		servers = []*fakeserver.Server{w.server}
	}
	var all []*ways.Way
	for _, s := range servers {
		all = append(all, wayTo(s))
	}
	reroute(c, all...)
	return c
}

// reroute gives a client other ways.
func reroute(c *Client, all ...*ways.Way) {
	c.net.Use(all...)
}

// wayTo leads to servers without a network between.
func wayTo(servers ...*fakeserver.Server) *ways.Way {
	return &ways.Way{Address: "fake", Carrier: faked(servers)}
}

// all ends every lease.
func all(*leases.Lease) bool { return true }

// faked is a carrier to fake servers: what one of them refuses comes as from a
// transport.
type faked []*fakeserver.Server

func (f faked) Introductions(ctx context.Context) (out [][]byte, err error) {
	return f.list(func(s *fakeserver.Server) ([]byte, error) { return s.Introduction(ctx) })
}

func (f faked) Statements(ctx context.Context) ([][]byte, error) {
	return f.list(func(s *fakeserver.Server) ([]byte, error) { return s.Statement(ctx) })
}

// list fails if none has anything.
func (f faked) list(get func(*fakeserver.Server) ([]byte, error)) (out [][]byte, failed error) {
	for _, s := range f {
		if data, err := get(s); err != nil {
			failed = err
		} else {
			out = append(out, data)
		}
	}
	if len(out) > 0 {
		failed = nil
	}
	return out, failed
}

// Exchange finds the server as a direct connection does, by its TLS key.
func (f faked) Exchange(ctx context.Context, to transport.Peer, sealed []byte) ([]byte, error) {
	for _, s := range f {
		if s.TLS() != to.TLS && len(f) > 1 {
			continue
		}
		answer, err := s.Exchange(ctx, sealed)
		if refusal, ok := errors.AsType[*fakeserver.Refusal](err); ok {
			err = &transport.Error{Address: s.Name, Status: refusal.Status, Code: refusal.Code, Message: refusal.Message}
		} else if errors.Is(err, wire.ErrSealed) || errors.Is(err, wire.ErrMalformed) {
			err = &transport.Error{Address: s.Name, Status: 400, Code: "malformed"}
		}
		return answer, err
	}
	return nil, tlscert.ErrPin
}

// Pin, Refresh and Call make it a direct way.
func (faked) Pin(wire.Hash) {}
func (faked) Refresh()      {}
func (faked) Call(context.Context, string, string, []byte, int) ([]byte, error) {
	return nil, errDown
}

func (w *world) seal(plaintext string) []byte {
	w.t.Helper()
	out, err := w.client.Encrypt(w.t.Context(), "payments/cards", []byte(plaintext), EncryptOptions{})
	if err != nil {
		w.t.Fatalf("Encrypt: %v", err)
	}
	return out
}

func (w *world) open(ciphertext []byte) error {
	plaintext, _, err := w.client.Decrypt(w.t.Context(), ciphertext, DecryptOptions{Keys: []string{"payments/cards"}})
	if err != nil && len(plaintext) > 0 {
		w.t.Errorf("an error, and %d bytes of plaintext", len(plaintext))
	}
	return err
}

func TestRoundTrip(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, o := range []EncryptOptions{
		{}, {Partition: []byte("tenant-7")}, {Partition: []byte("tenant-7"), HidePartition: true}, {Context: []byte("row 9")},
	} {
		sealed, err := w.client.Encrypt(ctx, "payments/cards", []byte("4111"), o)
		if err != nil {
			t.Fatal(err)
		}
		open := DecryptOptions{Keys: []string{"payments/cards"}, Partition: o.Partition, Context: o.Context}
		got, opened, err := w.client.Decrypt(ctx, sealed, open)
		if err != nil || string(got) != "4111" {
			t.Fatalf("Decrypt(%+v) = %q, %v", o, got, err)
		}
		if want := (Opened{"payments/cards", w.key.ID.String(), 1, "active"}); opened != want {
			t.Errorf("opened by %+v, want %+v", opened, want)
		}
	}
}

func TestStreamAndField(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	plain := bytes.Repeat([]byte("claviger"), 1<<17)
	var sealed, opened bytes.Buffer
	if _, err := w.client.EncryptStream(ctx, "payments/cards", &sealed, bytes.NewReader(plain), EncryptOptions{}); err != nil {
		t.Fatal(err)
	}
	by, err := w.client.DecryptStream(ctx, &opened, &sealed, DecryptOptions{AnyKey: true})
	if err != nil || !bytes.Equal(opened.Bytes(), plain) || by.Key != "payments/cards" {
		t.Fatalf("DecryptStream: %d bytes by %+v, %v", opened.Len(), by, err)
	}
	field, err := w.client.SealField(ctx, "payments/cards", []byte("4111"), EncryptOptions{Context: []byte("row 9")})
	if err != nil {
		t.Fatal(err)
	}
	open := DecryptOptions{Keys: []string{"payments/cards"}, Context: []byte("row 9")}
	if got, by, err := w.client.OpenField(ctx, field, open); err != nil || string(got) != "4111" || by.Version != 1 {
		t.Errorf("OpenField = %q by %+v, %v", got, by, err)
	}
	open.Context = []byte("row 10")
	if _, _, err := w.client.OpenField(ctx, field, open); err == nil {
		t.Error("a field opens in another row")
	}
}

// TestReal goes over TCP and TLS.
func TestReal(t *testing.T) {
	w := newWorld(t)
	c, err := Dial(t.Context(), w.profile, Options{Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sealed, err := c.Encrypt(t.Context(), "payments/cards", []byte("4111"), EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := c.Decrypt(t.Context(), sealed, DecryptOptions{Keys: []string{"payments/cards"}}); err != nil || string(got) != "4111" {
		t.Errorf("Decrypt = %q, %v", got, err)
	}
	if err := c.Renew(t.Context()); err != nil {
		t.Errorf("Renew: %v", err)
	}
	w.server.Restart() // with another TLS key
	if err := c.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh after a restart: %v", err)
	}
	w.server.Restart()
	c.cache.DropIf(all)
	if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
		t.Errorf("Encrypt after a restart: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.server.Refuse(context.Canceled)
	if _, err := w.client.Encrypt(ctx, "payments/cards", nil, EncryptOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Encrypt = %v", err)
	}
}
