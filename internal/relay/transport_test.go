// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver/outward"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// pinned is a relay as clients and servers reach it.
func (x *site) pinned(d wire.DomainID) *transport.Relay {
	x.t.Helper()
	conn := x.raw()
	leaf := conn.ConnectionState().PeerCertificates[0]
	conn.Close()
	a, err := transport.ParseAddress(x.url + "#" + keyHash(x.t, leaf).String())
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := transport.NewRelay(a, d, transport.Options{Clock: clock.System()})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(r.Close)
	return r
}

func keyHash(t testing.TB, leaf *x509.Certificate) wire.Hash {
	t.Helper()
	h := wire.KeyHash(leaf.PublicKey)
	if h.IsZero() {
		t.Fatal("the relay's key is of another kind")
	}
	return h
}

// outgoing is a key server as its outward side sees it: it answers what it is sent
// with the same, and some of it with trouble.
type outgoing struct {
	*keyServer
	mailbox *transport.Mailbox
	token   []byte
	moved   chan struct{}

	mu sync.Mutex
	at time.Time
}

func (o *outgoing) Introduction() ([]byte, error) {
	s := *o.keyServer
	s.edit = func(d *wire.Descriptor) { d.Mailbox = o.mailbox.ID() }
	return s.introduction(o.began()), nil
}

func (o *outgoing) began() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

func (o *outgoing) Statement() ([]byte, error) { return o.statement(o.box.now()), nil }
func (o *outgoing) SendTokens() []wire.Hash    { return []wire.Hash{wire.SendTokenHash(o.token)} }
func (o *outgoing) Changed() <-chan struct{}   { return o.moved }

var errBusyServer = errors.New("busy")

func (o *outgoing) Answer(_ context.Context, sealed []byte) ([]byte, error) {
	if bytes.Contains(sealed, []byte("trouble")) {
		return nil, errBusyServer
	}
	return sealed, nil
}

// Hear takes what other servers state.
func (o *outgoing) Hear([]byte) {}

// watcher hears how it goes.
type watcher struct{ up chan bool }

func (w *watcher) Connected(_ int, up bool) {
	select {
	case w.up <- up:
	default:
	}
}
func (*watcher) Exchanged(int, int)    {}
func (*watcher) Reconnected(int, bool) {}

// TestTransport: the two halves speak the same, both sides and every call.
func TestTransport(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	server := &outgoing{
		keyServer: &keyServer{domain: d, person: d.first, box: x.caller()}, mailbox: transport.NewMailbox(), token: bytes.Repeat([]byte{7}, wire.SendTokenSize),
		moved: make(chan struct{}), at: clock.System().Now(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch := &watcher{up: make(chan bool, 8)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		outward.Run(ctx, server, outward.Options{
			Carriers: []outward.Carrier{x.pinned(d.id()).As(server.mailbox)}, Every: time.Minute, Observer: watch, Logger: discardLogger(),
			Trouble: func(error) wire.Trouble {
				return wire.Trouble{Type: wire.TypeTrouble, Status: 429, Code: "busy", Message: "busy"}
			},
		})
	}()
	defer func() { cancel(); <-ended }()
	select {
	case <-watch.up:
	case <-time.After(generous):
		t.Fatal("the server isn't at the relay")
	}
	client := x.pinned(d.id())
	if got, err := client.Introductions(ctx); err != nil || len(got) != 1 {
		t.Fatalf("%d introductions: %v", len(got), err)
	}
	for statement, err := range client.Follow(ctx) {
		if s, bad := wire.PeekStatement(statement); err != nil || bad != nil || s.Server != wire.ServerIDOf(server.key.Public()) {
			t.Errorf("followed %x: %v", statement, err)
		}
		break
	}
	to := transport.Peer{Mailbox: server.mailbox.ID(), Token: server.token}
	var got []byte
	eventually(t, "the server receives", func() bool {
		var err error
		got, err = client.Exchange(ctx, to, sealed("question"))
		return err == nil
	})
	if !bytes.Equal(got, sealed("question")) {
		t.Errorf("answered %x", got)
	}
	for name, test := range map[string]struct {
		to     transport.Peer
		send   []byte
		status int
		code   string
	}{
		"trouble":        {to, sealed("trouble"), 429, "busy"},
		"a wrong token":  {transport.Peer{Mailbox: to.Mailbox, Token: make([]byte, 16)}, sealed("x"), 403, "token"},
		"no token":       {transport.Peer{Mailbox: to.Mailbox}, sealed("x"), 403, "token"},
		"another server": {transport.Peer{Mailbox: wire.Hash{1}, Token: to.Token}, sealed("x"), 403, "token"},
	} {
		_, err := client.Exchange(ctx, test.to, test.send)
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Status != test.status || e.Code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	parcels(t, ctx, x, d, server)
}

// parcels sends one from the server and fetches it as a client does.
func parcels(t *testing.T, ctx context.Context, x *site, d *domain, server *outgoing) {
	t.Helper()
	box := transport.NewMailbox()
	owner := x.pinned(d.id()).As(box)
	from := x.pinned(d.id()).As(server.mailbox)
	if err := from.PutParcel(ctx, box.ID(), clock.System().Now().Add(time.Hour), sealed("parcel")); err != nil {
		t.Fatal(err)
	}
	for delivery, err := range owner.Receive(ctx) {
		if err != nil || !bytes.Equal(delivery.Data, sealed("parcel")) {
			t.Fatalf("received %+v: %v", delivery, err)
		}
		if err := owner.DeleteParcel(ctx, delivery.Number); err != nil {
			t.Error(err)
		}
		break
	}
	if left := dump(t, x).Domains[0].Parcels; len(left) != 0 {
		t.Errorf("%d parcels are left", len(left))
	}
}
