// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver/outward"
	"claviger/internal/pki/tlscert"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// startRelay runs a relay as it runs in production and returns its address with
// its pin.
func startRelay(t *testing.T, domain wire.DomainID) (address string, stop func()) {
	t.Helper()
	return startRelayBehind(t, domain, nil)
}

// startRelayBehind is startRelay with a gate before it, if there is one.
func startRelayBehind(t *testing.T, domain wire.DomainID, g *gate) (address string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	domains := []wire.DomainID{domain}
	bus, err := natsbus.Open(ctx, natsbus.Options{Dir: t.TempDir(), Domains: domains, Clock: clock.System()})
	must(err)
	front, err := relay.New(ctx, relay.Options{Domains: domains, Bus: bus, Table: bus, Parcels: bus, Healthy: bus.Healthy})
	must(err)
	cert, pin, err := tlscert.SelfSigned(clock.System())
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	ended := make(chan error, 1)
	go func() {
		config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
		if g != nil {
			ended <- g.serve(ctx, l, config, front)
			return
		}
		ended <- front.Serve(ctx, l, config)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay: %v", err)
		}
		bus.Close()
	}
	t.Cleanup(stop)
	return "https://" + l.Addr().String() + "#" + wire.Hash(pin).String(), stop
}

// carried is a key server that is reached over relays and directories only.
func carried(t *testing.T, addresses func(wire.DomainID) []string) (*real, []string) {
	t.Helper()
	r := newReal(t)
	r.stop()
	at := addresses(r.domain.Domain)
	mailbox := transport.NewMailbox()
	r.mailbox = mailbox.ID()
	for _, text := range at {
		a, err := transport.ParseAddress(text)
		r.must(err)
		if a.Kind == transport.KindDirectory {
			d, err := transport.NewDirectory(a, r.domain.Domain, transport.Options{})
			r.must(err)
			r.carriers = append(r.carriers, d.As(mailbox))
			continue
		}
		d, err := transport.NewRelay(a, r.domain.Domain, transport.Options{})
		r.must(err)
		r.carriers = append(r.carriers, d.As(mailbox))
	}
	r.reach = at
	r.start(r.address)
	r.connect()
	return r, at
}

var _ outward.Carrier = (*transport.RelayOwner)(nil)

// invite is one with addresses of relays or directories alone, and a send token.
func (r *real) invite(name string, addresses ...string) string {
	r.t.Helper()
	id, err := admin.ClientID(r.admin.State(), name)
	r.must(err)
	invite, payload, err := r.admin.Invite(id, time.Hour)
	r.must(err)
	r.propose(authority.KindInvite, *payload)
	_, token, err := r.admin.Reach(r.t.Context())
	r.must(err)
	invite.Addresses, invite.SendToken = addresses, token
	return invite.Text()
}

// until waits for what should come soon.
func (r *real) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestCarried: enrol, get keys, renew, hear of a revocation, over a relay and over
// a directory, without a connection to the server.
func TestCarried(t *testing.T) {
	for name, address := range map[string]func(t *testing.T, id wire.DomainID) string{
		"relay": func(t *testing.T, id wire.DomainID) string { a, _ := startRelay(t, id); return a },
		"directory": func(t *testing.T, _ wire.DomainID) string {
			return transport.Address{Kind: transport.KindDirectory, Path: filepath.ToSlash(t.TempDir())}.String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, at := carried(t, func(id wire.DomainID) []string { return []string{address(t, id)} })
			ctx := t.Context()
			key := admin.NewKey("payments/cards", authority.AES256, authority.Settings{Lease: 3600, Staleness: 900}, "")
			r.propose(authority.KindKeyCreate, key)
			r.allow("spiffe://acme/workload/app", "payments/cards")
			var p *client.Profile
			line := r.invite("app", at...)
			r.until("enrolment", func() (ok bool) {
				var err error
				p, err = client.Enroll(ctx, filepath.Join(t.TempDir(), "profile"), line, client.EnrollOptions{})
				if err != nil && !errors.Is(err, client.ErrUnavailable) {
					t.Fatal(err)
				}
				return err == nil
			})
			c, err := client.Dial(ctx, p, client.Options{})
			r.must(err)
			defer c.Close()
			sealed, err := c.Encrypt(ctx, "payments/cards", []byte("4111"), client.EncryptOptions{})
			r.must(err)
			expect := client.DecryptOptions{Keys: []string{"payments/cards"}}
			if got, _, err := c.Decrypt(ctx, sealed, expect); err != nil || string(got) != "4111" {
				t.Fatalf("Decrypt = %q, %v", got, err)
			}
			r.must(c.Renew(ctx))
			r.until("news", func() bool {
				err := c.Refresh(ctx)
				if err != nil && !errors.Is(err, client.ErrUnavailable) {
					t.Fatal(err)
				}
				return err == nil
			})
			if _, err := c.Keys(ctx); !errors.Is(err, client.ErrNeedsDirect) {
				t.Errorf("Keys = %v", err)
			}

			r.propose(authority.KindKeyDisable, authority.KeyRef{ID: key.ID, Reason: "test"})
			r.until("the revocation", func() bool {
				_, _, err := c.Decrypt(ctx, sealed, expect)
				return isDenied(err)
			})
			r.until("the acknowledgement", func() bool {
				s, err := r.admin.Revocation(ctx, wire.Epoch{}, "key:"+key.ID.String(), 0)
				return err == nil && s.Acknowledged > 0
			})
		})
	}
}

// TestFailoverAcrossWays: of two relays and a server's own port, any one will do.
func TestFailoverAcrossWays(t *testing.T) {
	var stops []func()
	r, at := carried(t, func(id wire.DomainID) (out []string) {
		for range 2 {
			a, stop := startRelay(t, id)
			out, stops = append(out, a), append(stops, stop)
		}
		return out
	})
	ctx := t.Context()
	r.propose(authority.KindKeyCreate, admin.NewKey("payments/cards", authority.AES256, authority.Settings{Lease: 3600, Staleness: 900}, ""))
	r.allow("spiffe://acme/workload/app", "payments/cards")
	line := r.invite("app", append(at, r.address)...)
	p, err := client.Enroll(ctx, filepath.Join(t.TempDir(), "profile"), line, client.EnrollOptions{})
	r.must(err)
	c, err := client.Dial(ctx, p, client.Options{})
	r.must(err)
	defer c.Close()
	for n, stop := range append([]func(){func() {}}, stops...) {
		_, err := c.Encrypt(ctx, "payments/cards", []byte("4111"), client.EncryptOptions{Partition: []byte{byte(n)}})
		if err != nil {
			t.Errorf("with %d relays gone: %v", max(n-1, 0), err)
		}
		stop()
	}
	if _, err := c.Encrypt(ctx, "payments/cards", nil, client.EncryptOptions{Partition: []byte("all gone")}); err != nil {
		t.Errorf("over the port alone: %v", err)
	}
	if _, err := c.Keys(ctx); err != nil {
		t.Errorf("Keys = %v", err)
	}
}
