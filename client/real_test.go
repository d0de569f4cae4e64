// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/outward"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// real is a key server as it runs in production, with one admin.
type real struct {
	padding wire.Padding // of the server's answers
	t       *testing.T
	dir     string
	custody *secret.Bytes
	domain  *datadir.Founded
	address string
	admin   *admin.Session
	connect func() // the admin, anew
	stop    func()

	mailbox  wire.Hash // at relays and directories; zero: at none
	reach    []string
	carriers []outward.Carrier
}

func newReal(t *testing.T) *real {
	t.Helper()
	r := &real{t: t, dir: t.TempDir(), custody: secret.Random(32)}
	fresh, err := root.Create(filepath.Join(r.dir, "root"), 1, root.Sealing{Key: r.custody})
	r.must(err)
	profile, key, err := admin.CreateProfile(filepath.Join(t.TempDir(), "admin"), admin.NewProfile{
		Name: "ann", Unlock: admin.Unlock{Key: r.custody}, KeyFile: "unused",
	})
	r.must(err)
	r.domain, err = datadir.Init(t.Context(), datadir.InitOptions{
		Dir: r.dir, Name: "acme", Root: fresh, Admin: key, Clock: clock.System(),
		Keys: members.Keys{Keys: []members.Key{profile.Member()}, Threshold: 1},
	})
	r.must(err)
	fresh.Wipe()
	r.start("127.0.0.1:0")
	r.must(profile.Join(r.domain.Domain, []string{r.address}, nil))
	r.connect = func() {
		r.admin, err = admin.Connect(t.Context(), profile, admin.Options{
			Clock: clock.System(), Key: func(context.Context) (*admin.Key, error) { return key, nil },
		})
		r.must(err)
		t.Cleanup(r.admin.Close)
	}
	r.connect()
	return r
}

func (r *real) must(err error) {
	if err != nil {
		r.t.Helper()
		r.t.Fatal(err)
	}
}

// start unseals a server and serves until stop.
func (r *real) start(address string) {
	r.t.Helper()
	server, err := api.New(keyserver.Options{Dir: r.dir, Domain: r.domain.Domain, Clock: clock.System(), StatementEvery: 50 * time.Millisecond, Mailbox: r.mailbox, Reach: r.reach, Padding: r.padding}, nil, r.carriers...)
	r.must(err)
	secretRoot, err := root.Open(filepath.Join(r.dir, "root"), root.Unlock{Key: r.custody})
	r.must(err)
	r.must(server.Unseal(r.t.Context(), secretRoot))
	l, err := net.Listen("tcp", address)
	r.must(err)
	r.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, api.Listeners{API: l}) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("stop: %v", err)
		}
	}
	r.t.Cleanup(r.stop)
}

func (r *real) propose(kind string, payload any) {
	r.t.Helper()
	outcome, err := r.admin.Propose(r.t.Context(), kind, payload)
	if err != nil || !outcome.Applied {
		r.t.Fatalf("%s: %+v, %v", kind, outcome, err)
	}
}

func (r *real) allow(who, key string) {
	r.t.Helper()
	p, _, err := admin.Allow(r.admin.State(), who, key, nil, "")
	r.must(err)
	r.propose(authority.KindPolicy, p)
}

func (r *real) client(name string) *client.Client {
	r.t.Helper()
	id, err := admin.ClientID(r.admin.State(), name)
	r.must(err)
	invite, payload, err := r.admin.Invite(id, time.Hour)
	r.must(err)
	r.propose(authority.KindInvite, *payload)
	p, err := client.Enroll(r.t.Context(), filepath.Join(r.t.TempDir(), "profile"), invite.Text(), client.EnrollOptions{})
	r.must(err)
	c, err := client.Dial(r.t.Context(), p, client.Options{Reason: "test"})
	r.must(err)
	r.t.Cleanup(func() { r.must(c.Close()) })
	return c
}

// TestWithKeyServer goes the whole way against the server that people run: enrol,
// encrypt, be denied, rotate, use keys there, restart, be revoked.
func TestWithKeyServer(t *testing.T) {
	r := newReal(t)
	ctx := t.Context()
	settings := authority.Settings{Lease: 3600, Staleness: 900}
	r.propose(authority.KindKeyCreate, admin.NewKey("payments/cards", authority.AES256, settings, ""))
	app, other := r.client("app"), r.client("other")
	r.allow("spiffe://acme/workload/app", "payments/cards")

	row := []byte("row 9")
	sealed, err := app.Encrypt(ctx, "payments/cards", []byte("4111"), client.EncryptOptions{Partition: []byte("tenant-7"), Context: row})
	r.must(err)
	expect := client.DecryptOptions{Keys: []string{"payments/cards"}, Context: row}
	got, opened, err := app.Decrypt(ctx, sealed, expect)
	if err != nil || string(got) != "4111" || opened.Key != "payments/cards" || opened.Version != 1 {
		t.Fatalf("Decrypt = %q by %+v, %v", got, opened, err)
	}
	_, _, err = other.Decrypt(ctx, sealed, expect)
	denied, ok := errors.AsType[*client.DeniedError](err)
	if !ok || denied.Client != "spiffe://acme/workload/other" || denied.Operation != "decrypt" || denied.Reason != "no policy allows it" {
		t.Errorf("the other client: %v", err)
	}

	keys, err := app.Keys(ctx)
	if err != nil || len(keys) != 1 || keys[0].Name != "payments/cards" || keys[0].ID != opened.ID || keys[0].Algorithm != authority.AES256 {
		t.Errorf("Keys = %+v, %v", keys, err)
	}
	results, err := app.Use(ctx, []client.UseItem{
		{Operation: "encrypt", Key: "payments/cards", Plaintext: []byte("4111"), Context: row},
		{Operation: "sign", Key: "payments/other", Message: []byte("m")},
	})
	r.must(err)
	if plain, _, err := app.OpenField(ctx, results[0].Ciphertext, expect); err != nil || string(plain) != "4111" {
		t.Errorf("what the server sealed opens as %q, %v", plain, err)
	}
	if denied, ok := errors.AsType[*client.DeniedError](results[1].Err); !ok || denied.Key != "payments/other" {
		t.Errorf("Use of an unknown key: %v", results[1].Err)
	}

	r.must(app.Renew(ctx))
	if _, err := app.Keys(ctx); err != nil {
		t.Errorf("Keys after Renew: %v", err)
	}
	r.must(app.Refresh(ctx))

	r.stop()
	if _, _, err := app.Decrypt(ctx, sealed, expect); err != nil {
		t.Errorf("with a lease and no server: %v", err)
	}
	r.start(r.address)
	if _, err := app.Keys(ctx); err != nil {
		t.Errorf("Keys after a restart: %v", err)
	}
	if _, err := other.Encrypt(ctx, "payments/cards", nil, client.EncryptOptions{}); !isDenied(err) {
		t.Errorf("the other client after a restart: %v", err)
	}
}

func isDenied(err error) bool {
	_, ok := errors.AsType[*client.DeniedError](err)
	return ok
}

// TestKeyServerRevokes: a disabled key and a revoked client are gone with the next
// statement.
func TestKeyServerRevokes(t *testing.T) {
	r := newReal(t)
	ctx := t.Context()
	settings := authority.Settings{Lease: 3600, Staleness: 900}
	key := admin.NewKey("payments/cards", authority.AES256, settings, "")
	r.propose(authority.KindKeyCreate, key)
	app := r.client("app")
	r.allow("spiffe://acme/workload/app", "payments/cards")
	sealed, err := app.Encrypt(ctx, "payments/cards", []byte("4111"), client.EncryptOptions{})
	r.must(err)
	expect := client.DecryptOptions{Keys: []string{"payments/cards"}}
	_, _, err = app.Decrypt(ctx, sealed, expect)
	r.must(err)
	r.propose(authority.KindKeyDisable, authority.KeyRef{ID: key.ID, Reason: "test"})
	r.must(app.Refresh(ctx))
	_, _, err = app.Decrypt(ctx, sealed, expect)
	if denied, ok := errors.AsType[*client.DeniedError](err); !ok || denied.Reason != "the key is disabled" {
		t.Errorf("with a disabled key: %v", err)
	}
	r.propose(authority.KindKeyEnable, authority.KeyRef{ID: key.ID, Reason: "test"})
	_, _, err = app.Decrypt(ctx, sealed, expect)
	r.must(err)

	// Another one that held the key, and has ended, is not waited for.
	other := r.client("other")
	r.allow("spiffe://acme/workload/other", "payments/cards")
	_, _, err = other.Decrypt(ctx, sealed, expect)
	r.must(err)
	r.must(other.Close())
	r.propose(authority.KindClientRevoke, authority.Subject{Client: "spiffe://acme/workload/other", Reason: "test"})
	if s, err := r.admin.Revocation(ctx, wire.Epoch{}, "client:spiffe://acme/workload/other", 0); err != nil || s.Holders != 0 || !s.Done {
		t.Errorf("a client that said goodbye holds something: %+v, %v", s, err)
	}

	r.propose(authority.KindClientRevoke, authority.Subject{Client: "spiffe://acme/workload/app", Reason: "test"})
	r.must(app.Refresh(ctx))
	if _, _, err = app.Decrypt(ctx, sealed, expect); !errors.Is(err, client.ErrRevoked) || !isDenied(err) {
		t.Errorf("as a revoked client: %v", err)
	}
}
