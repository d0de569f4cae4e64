// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claviger/client"
	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/relay"
	"claviger/internal/relay/membus"
	"claviger/internal/wire"
)

// watchedRelay is a relay that shows what it saw.
func watchedRelay(t *testing.T, domain wire.DomainID) (address string, front *relay.Front) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bus := membus.New([]wire.DomainID{domain}, clock.System())
	front, err := relay.New(ctx, relay.Options{Domains: []wire.DomainID{domain}, Bus: bus, Table: bus, Parcels: bus})
	if err != nil {
		t.Fatal(err)
	}
	cert, pin, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- front.Serve(ctx, l, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return "https://" + l.Addr().String() + "#" + wire.Hash(pin).String(), front
}

// TestPaddedThroughARelay: where profile and server say so, every sealed message
// that a relay sees has the size of a class, however many keys it asks for.
func TestPaddedThroughARelay(t *testing.T) {
	var front *relay.Front
	r, at := carried(t, func(id wire.DomainID) []string {
		var address string
		address, front = watchedRelay(t, id)
		return []string{address}
	})
	r.stop()
	r.padding = true
	r.start(r.address)
	r.connect()
	names := []string{"a", "b/" + strings.Repeat("c", 60)}
	var last wire.KeyID
	for _, name := range names {
		key := admin.NewKey(name, authority.AES256, authority.Settings{Lease: 3600, Staleness: 900}, "")
		last = key.ID
		r.propose(authority.KindKeyCreate, key)
		r.allow("spiffe://acme/workload/app", name)
	}
	line := r.invite("app", at...)
	var p *client.Profile
	r.until("enrolment", func() (ok bool) {
		var err error
		p, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "profile"), line, client.EnrollOptions{Pad: true})
		if err != nil && !errors.Is(err, client.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	p, err := client.OpenProfile(p.Dir) // the profile keeps it
	r.must(err)
	c, err := client.Dial(t.Context(), p, client.Options{})
	r.must(err)
	defer c.Close()
	for _, name := range names {
		if _, err := c.Encrypt(t.Context(), name, []byte("4111"), client.EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.must(c.Renew(t.Context()))
	if _, err := c.Encrypt(t.Context(), "none", nil, client.EncryptOptions{}); !isDenied(err) {
		t.Errorf("a key that isn't there: %v", err)
	}
	r.propose(authority.KindKeyDisable, authority.KeyRef{ID: last, Reason: "test"})
	seen := map[string]int{}
	r.until("all types of messages", func() bool {
		d, err := front.Dump(t.Context(), false)
		r.must(err)
		clear(seen)
		for _, x := range d.Passed {
			if slices.Contains([]string{wire.TypeRequest, wire.TypeRelease, wire.TypeEnroll, wire.TypeEnrolled, wire.TypeRenew, wire.TypeAck}, x.Type) && x.Size != len(wire.Marshal(wire.TypeAck)) { // the unsealed answer to an acknowledgement
				seen[x.Type]++
				if x.Size != wire.FirstSizeClass {
					t.Fatalf("%s of %d bytes", x.Type, x.Size)
				}
			}
		}
		return len(seen) == 6
	})
}
