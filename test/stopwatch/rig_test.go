// SPDX-License-Identifier: Apache-2.0

// Package stopwatch holds the product to what it promises about time and loss where
// whole processes matter.
//
// What `revoke --measure` reports is held against the truth: real clients, each with a lease of one key, behind a real relay before a real key
// server; a prober for each client that notes when it could use the key last; and
// a relay that is honest, swallows news or cuts clients off.
//
// Relay processes on a cluster of NATS are killed under load, and so is each of the
// cluster's nodes: nothing that was acknowledged is lost.
//
// The tests hold what has to be true however slow the machine is: nobody uses a
// key after the bound that was reported for it. How fast it goes is for the
// benchmarks to say.
package stopwatch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
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
	"claviger/internal/pki/tlscert"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

const (
	keyName   = "payments/cards"
	domain    = "acme"
	staleness = authority.MinStaleness * time.Second
	patience  = time.Minute // how long a test waits for what should come at once
)

var expect = client.DecryptOptions{Keys: []string{keyName}}

// rig is a domain: an admin at the key server's own port, and everybody else
// behind the relay.
type rig struct {
	tb    testing.TB
	clock *fast
	admin *admin.Session
	key   authority.KeyCreate
	dir   string // of profiles
	token []byte

	mailbox *transport.Mailbox // the server's
	relays  []*transport.Relay // as the server goes to them
	front   *relay.Front       // of the one in this process, if there is one

	object []byte // that every holder can open
}

func (r *rig) must(err error) {
	if err != nil {
		r.tb.Helper()
		r.tb.Fatal(err)
	}
}

// newRig founds a domain with a relay in this process, whose server signs a
// statement every so often.
func newRig(tb testing.TB, every time.Duration) *rig {
	tb.Helper()
	r := &rig{tb: tb, clock: newFast(), dir: profiles(tb)}
	r.found(every, func(id wire.DomainID) []*transport.Relay { return []*transport.Relay{r.relay(id)} })
	return r
}

// found founds the domain, which is reached over relays.
func (r *rig) found(every time.Duration, relays func(wire.DomainID) []*transport.Relay) {
	tb := r.tb
	tb.Helper()
	dir, custody := tb.TempDir(), secret.Random(32)
	fresh, err := root.Create(filepath.Join(dir, "root"), 1, root.Sealing{Key: custody})
	r.must(err)
	profile, key, err := admin.CreateProfile(filepath.Join(tb.TempDir(), "admin"), admin.NewProfile{
		Name: "ann", Unlock: admin.Unlock{Key: custody}, KeyFile: "unused",
	})
	r.must(err)
	founded, err := datadir.Init(tb.Context(), datadir.InitOptions{
		Dir: dir, Name: domain, Root: fresh, Admin: key, Clock: r.clock,
		Keys: members.Keys{Keys: []members.Key{profile.Member()}, Threshold: 1},
	})
	r.must(err)
	r.mailbox, r.relays = transport.NewMailbox(), relays(founded.Domain)
	o := keyserver.Options{Dir: dir, Domain: founded.Domain, Clock: r.clock, StatementEvery: every, Mailbox: r.mailbox.ID()}
	var carriers []outward.Carrier
	for _, way := range r.relays {
		o.Reach = append(o.Reach, way.Address())
		carriers = append(carriers, way.As(r.mailbox))
	}
	server, err := api.New(o, nil, carriers...)
	r.must(err)
	r.must(server.Unseal(tb.Context(), fresh))
	address := r.serve(server)
	r.must(profile.Join(founded.Domain, []string{address}, nil))
	r.admin, err = admin.Connect(tb.Context(), profile, admin.Options{
		Clock: r.clock, Key: func(context.Context) (*admin.Key, error) { return key, nil },
	})
	r.must(err)
	tb.Cleanup(r.admin.Close)
	r.key = admin.NewKey(keyName, authority.AES256, authority.Settings{Lease: 3600, Staleness: authority.MinStaleness}, "")
	r.propose(authority.KindKeyCreate, r.key)
	r.propose(authority.KindPolicy, authority.Policy{Source: []byte(`permit(principal, action, resource);`)})
	_, r.token, err = r.admin.Reach(tb.Context())
	r.must(err)
}

// profiles is a directory in memory where there is one: a thousand clients have a
// thousand disks, and here they would share one.
func profiles(tb testing.TB) string {
	tb.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "claviger-stopwatch-"); err == nil {
		tb.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				tb.Error(err)
			}
		})
		return dir
	}
	return tb.TempDir()
}

// relay starts the relay and returns the server's way to it, which no hop
// disturbs.
func (r *rig) relay(id wire.DomainID) *transport.Relay {
	r.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	domains := []wire.DomainID{id}
	bus, err := natsbus.Open(ctx, natsbus.Options{Dir: r.tb.TempDir(), Domains: domains, Clock: r.clock})
	r.must(err)
	many := relay.Limits{Rate: 1e6, Burst: 1e6, Bodies: 1e5, BodiesPerAddress: 1e5, ConnectionsPerAddress: 1e5, UnderWay: 1e5} // all clients have one address
	r.front, err = relay.New(ctx, relay.Options{
		Domains: domains, Limits: many, Bus: bus, Table: bus, Parcels: bus, Healthy: bus.Healthy, Clock: r.clock,
	})
	r.must(err)
	cert, pin, err := tlscert.SelfSigned(clock.System())
	r.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	ended := make(chan error, 1)
	go func() {
		ended <- r.front.Serve(ctx, l, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
	}()
	r.tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.tb.Errorf("relay: %v", err)
		}
		bus.Close()
	})
	return r.way("https://"+l.Addr().String()+"#"+wire.Hash(pin).String(), id)
}

// way leads to a relay.
func (r *rig) way(address string, id wire.DomainID) *transport.Relay {
	r.tb.Helper()
	a, err := transport.ParseAddress(address)
	r.must(err)
	way, err := transport.NewRelay(a, id, transport.Options{Clock: r.clock})
	r.must(err)
	r.tb.Cleanup(way.Close)
	return way
}

var _ outward.Carrier = (*transport.RelayOwner)(nil)

// serve runs the server until the test ends.
func (r *rig) serve(server *api.Server) (address string) {
	r.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, api.Listeners{API: l}) }()
	r.tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.tb.Errorf("server: %v", err)
		}
	})
	return l.Addr().String()
}

func (r *rig) propose(kind string, payload any) {
	r.tb.Helper()
	outcome, err := r.admin.Propose(r.tb.Context(), kind, payload)
	if err != nil || !outcome.Applied {
		r.tb.Fatalf("%s: %+v, %v", kind, outcome, err)
	}
}

// invite lets a workload enrol through relays.
func (r *rig) invite(name string, by ...string) string {
	r.tb.Helper()
	id, err := admin.ClientID(r.admin.State(), name)
	r.must(err)
	invite, payload, err := r.admin.Invite(id, time.Hour)
	r.must(err)
	r.propose(authority.KindInvite, *payload)
	invite.Addresses, invite.SendToken = by, r.token
	return invite.Text()
}

// enrol uses an invite. A server that has just come to the relay may not be seen
// there yet.
func (r *rig) enrol(name, line string) (*client.Profile, error) {
	ctx, cancel := context.WithTimeout(r.tb.Context(), patience)
	defer cancel()
	for {
		p, err := client.Enroll(ctx, filepath.Join(r.dir, name), line, client.EnrollOptions{Clock: r.clock, Timeout: patience})
		if err == nil || ctx.Err() != nil || !errors.Is(err, client.ErrUnavailable) {
			return p, err
		}
		pause(20 * time.Millisecond)
	}
}

// pause lets some time of the machine pass.
func pause(d time.Duration) { <-time.After(d) }

// until waits for what should come soon.
func (r *rig) until(what string, ok func() bool) {
	r.tb.Helper()
	for end := clock.System().Boot() + patience; !ok(); pause(10 * time.Millisecond) {
		if clock.System().Boot() > end {
			r.tb.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// revoke disables the key.
func (r *rig) revoke() {
	r.tb.Helper()
	r.propose(authority.KindKeyDisable, authority.KeyRef{ID: r.key.ID, Reason: "test"})
}

// report asks the server how far that has come; with wait, until it is done.
func (r *rig) report(wait bool) *admin.Revocation {
	r.tb.Helper()
	hold := time.Duration(0)
	if wait {
		hold = time.Second
	}
	for end := clock.System().Boot() + 2*patience; ; pause(20 * time.Millisecond) {
		report, err := r.admin.Revocation(r.tb.Context(), wire.Epoch{}, "key:"+r.key.ID.String(), hold)
		if err == nil && (report.Done || !wait) {
			return report
		}
		if clock.System().Boot() > end {
			r.tb.Fatalf("not done: %+v, %v", report, err)
		}
	}
}

func name(n int) string { return fmt.Sprintf("app%d", n) }
