// SPDX-License-Identifier: Apache-2.0

// Package scenario holds the product against the numbered attacks that its design
// answers: a real client and a real server, at its own port or at a relay, with
// somebody hostile between, beside or behind them. Each test is named after its
// scenario; source_test.go lists those that have to be here.
package scenario

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
)

const (
	cards  = "payments/cards"
	orders = "shop/orders"
)

// start is when tests with a clock of their own begin.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// plaintext is what no attacker may get to see.
var plaintext = []byte("4111 1111 1111 1111, a card number that nobody else may read")

// world is a domain with two keys; app1 may use both, app2 neither.
type world struct {
	*testkit.Domain
	t          *testing.T
	clock      *clock.Manual
	app1, app2 *client.Profile
	relay      *hostile.Relay // at which the server stands, and where workloads look for it; nil: none
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldWith(t, testkit.Options{})
}

func worldWith(t *testing.T, o testkit.Options) *world {
	t.Helper()
	w := &world{t: t}
	if o.Clock == nil {
		w.clock = clock.NewManual(start)
		o.Clock = w.clock
	}
	w.found(o)
	return w
}

// found founds the domain and brings its keys and workloads in.
func (w *world) found(o testkit.Options) {
	w.t.Helper()
	w.Domain = testkit.New(w.t, o)
	w.CreateKey(cards, authority.AES256)
	w.CreateKey(orders, authority.AES256)
	w.app1, w.app2 = w.Enroll("app1"), w.Enroll("app2")
	w.Allow("app1", cards)
	w.Allow("app1", orders)
}

var (
	appOne = testkit.ID("app1")
	appTwo = testkit.ID("app2")
)

// seal encrypts the plaintext and fails the test if that fails.
func (w *world) seal(c *client.Client, key string) []byte {
	w.t.Helper()
	out, err := c.Encrypt(w.t.Context(), key, plaintext, client.EncryptOptions{})
	if err != nil {
		w.t.Fatalf("encrypt with %s: %v", key, err)
	}
	return out
}

// opens holds that a ciphertext opens to the plaintext.
func (w *world) opens(c *client.Client, ciphertext []byte, keys ...string) {
	w.t.Helper()
	got, _, err := c.Decrypt(w.t.Context(), ciphertext, client.DecryptOptions{Keys: keys})
	if err != nil || !bytes.Equal(got, plaintext) {
		w.t.Fatalf("decrypt: %q, %v", got, err)
	}
}

// refuses holds that an encryption fails with want and gives nothing.
func (w *world) refuses(c *client.Client, key string, want error) {
	w.t.Helper()
	out, err := c.Encrypt(w.t.Context(), key, plaintext, client.EncryptOptions{})
	if !errors.Is(err, want) {
		w.t.Errorf("encrypt: %v, want %v", err, want)
	}
	if out != nil {
		w.t.Errorf("encrypt gave %d bytes with its error", len(out))
	}
}

// denied holds that an encryption is denied, for a reason.
func (w *world) denied(c *client.Client, key, reason string) {
	w.t.Helper()
	_, err := c.Encrypt(w.t.Context(), key, plaintext, client.EncryptOptions{})
	no, ok := errors.AsType[*client.DeniedError](err)
	if !ok || reason != "" && no.Reason != reason {
		w.t.Errorf("encrypt: %v, want a denial: %s", err, reason)
	}
}

// closedTo holds that a ciphertext doesn't open: want, and no plaintext.
func (w *world) closedTo(c *client.Client, ciphertext []byte, o client.DecryptOptions, want error) {
	w.t.Helper()
	got, _, err := c.Decrypt(w.t.Context(), ciphertext, o)
	if !errors.Is(err, want) {
		w.t.Errorf("decrypt: %v, want %v", err, want)
	}
	if len(got) != 0 {
		w.t.Errorf("decrypt gave %d bytes with its error", len(got))
	}
}

// unchanged runs f and holds that the authority log did not move.
func (w *world) unchanged(f func()) {
	w.t.Helper()
	before := w.State()
	f()
	if after := w.State(); after.Epoch != before.Epoch || after.Head != before.Head {
		w.t.Errorf("the authority log went from %s to %s", before.Epoch, after.Epoch)
	}
}

// within ends a test that hangs with a plain word.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("not done after %v", d)
	}
}

// keyNamed is the payload that makes a key.
func keyNamed(name string) authority.KeyCreate {
	p := authority.KeyCreate{
		Name: name, Algorithm: authority.AES256,
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return p
}
