// SPDX-License-Identifier: Apache-2.0

// Package testkit is a whole trust domain in one process, for tests that hold the
// product as it ships against an attacker.
//
//   - [New] founds a domain in a directory of the test and serves it on 127.0.0.1;
//     [Domain.Stop], [Domain.Start] and [Domain.Restart] end and begin its server;
//   - [Domain.Propose] and its kin act as the admins, [Domain.Enroll] and
//     [Domain.Client] make workloads;
//   - [Domain.Leaves], [Domain.Verify] read the audit log and judge it offline;
//   - [Domain.Man] is a man in the middle who ends the TLS of the server, because
//     the protocol owes nothing to it;
//   - [Domain.Mole] is a second server, joined by the admins, that lies as a test
//     wants it to;
//   - a relay that misbehaves, at which the server stands with Options.Relays, is in
//     package hostile;
//   - [Domain.Raw] speaks for a workload without the SDK, so that a test can send
//     what the SDK never would.
//
// Nothing here is a double: server, store, audit log, certificates and client are
// the product's. Lies of a whole fake domain are in package fakeserver, faults of
// the disk in faultfs.
package testkit

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Name is the trust domain that workloads' names begin with.
const Name = "test"

// Options of a Domain. The zero value works.
type Options struct {
	Admins    int // 0 stands for 1
	Threshold int // 0 stands for 1
	Strict    bool
	Clock     clock.Clock // nil: the system's
	Logger    *slog.Logger
	// Sealing of the root; zero means a random key file's.
	Sealing root.Sealing
	// Unlock opens what Sealing sealed; needed with it.
	Unlock func() root.Unlock
	// AuditFS is where the audit log lies; nil: the operating system's.
	AuditFS audit.FS
	// Relays starts the relays and directories at which the server stands, and
	// returns their addresses; nil: workloads come to its port.
	Relays func(wire.DomainID) []string
	// Listen changes the listener of the native API; nil: as it is.
	Listen         func(net.Listener) net.Listener
	StatementEvery time.Duration // 0: the product's
}

// Domain is a trust domain with one honest server.
type Domain struct {
	tb      testing.TB
	o       Options
	unlock  func() root.Unlock
	cert    tls.Certificate
	ended   chan error
	stop    context.CancelFunc
	carrier *tls.Certificate
	pin     wire.Hash
	outside *outside
	token   []byte // that opens the server's mailbox

	Dir     string // the server's data directory
	Admins  []ed25519.PrivateKey
	Founded *datadir.Founded
	Server  *api.Server
	Address string // host:port of the native API
	Metrics string // host:port of the metrics
}

// New founds a domain and starts its server.
func New(tb testing.TB, o Options) *Domain {
	tb.Helper()
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	d := &Domain{tb: tb, o: o, Dir: filepath.Join(tb.TempDir(), "server")}
	d.makeRoot()
	keys := members.Keys{Threshold: uint64(max(o.Threshold, 1))}
	for i := range max(o.Admins, 1) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		d.must(err)
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		d.must(err)
		d.Admins = append(d.Admins, key)
		keys.Keys = append(keys.Keys, members.Key{Name: "admin" + strconv.Itoa(i+1), Public: der})
	}
	secretRoot := d.Root()
	defer secretRoot.Wipe()
	var err error
	d.Founded, err = datadir.Init(tb.Context(), datadir.InitOptions{
		Dir: d.Dir, Name: Name, Strict: o.Strict, Root: secretRoot, Keys: keys, Admin: d.Admins[0], Clock: o.Clock,
	})
	d.must(err)
	d.Start()
	tb.Cleanup(func() {
		if d.Server != nil {
			d.Stop()
		}
	})
	return d
}

func (d *Domain) makeRoot() {
	d.tb.Helper()
	sealing := d.o.Sealing
	d.unlock = d.o.Unlock
	if d.unlock == nil {
		key := secret.Random(32)
		sealing.Key = key
		d.unlock = func() root.Unlock { return root.Unlock{Key: key} }
	}
	d.must(os.MkdirAll(d.Dir, 0o700))
	r, err := root.Create(filepath.Join(d.Dir, "root"), 1, sealing)
	d.must(err)
	r.Wipe()
}

func (d *Domain) must(err error) {
	d.tb.Helper()
	if err != nil {
		d.tb.Fatal(err)
	}
}

// Root opens the root secret; the caller wipes it.
func (d *Domain) Root() *root.Secret {
	d.tb.Helper()
	r, err := root.Open(filepath.Join(d.Dir, "root"), d.unlock())
	d.must(err)
	return r
}

// Start starts and unseals the server on a new port.
func (d *Domain) Start() {
	d.tb.Helper()
	d.must(d.TryStart())
	d.token = d.SendToken()
	d.Await()
}

// TryStart is Start for a server that may refuse.
func (d *Domain) TryStart() error {
	cert, pin, err := tlscert.SelfSigned(d.o.Clock)
	if err != nil {
		return err
	}
	o := keyserver.Options{
		Dir: d.Dir, Domain: d.Founded.Domain, Clock: d.o.Clock, Logger: d.o.Logger, AuditFS: d.o.AuditFS, StatementEvery: d.o.StatementEvery,
	}
	carriers, err := d.carriers(&o)
	if err != nil {
		return err
	}
	server, err := api.New(o, &cert, carriers...)
	if err != nil {
		return err
	}
	secretRoot, err := root.Open(filepath.Join(d.Dir, "root"), d.unlock())
	if err != nil {
		return err
	}
	if err := server.Unseal(context.Background(), secretRoot); err != nil {
		return err
	}
	d.cert, d.pin = cert, pin
	d.serve(server)
	return nil
}

func (d *Domain) serve(server *api.Server) {
	native, metrics := d.listen(d.Address), d.listen("")
	ctx, stop := context.WithCancel(context.Background())
	d.Server, d.stop, d.ended = server, stop, make(chan error, 1)
	d.Address, d.Metrics = native.Addr().String(), metrics.Addr().String()
	if d.o.Listen != nil {
		native = d.o.Listen(native)
	}
	ended := d.ended
	go func() { ended <- server.Serve(ctx, api.Listeners{API: native, Metrics: metrics}) }()
}

// listen takes the address again that clients know, if there is one.
func (d *Domain) listen(address string) net.Listener {
	d.tb.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	d.must(err)
	return l
}

// Stop ends the server in order.
func (d *Domain) Stop() {
	d.tb.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		d.tb.Errorf("stop: %v", err)
	}
	d.Server = nil
}

// Abandon ends a server that can't end in order, such as one whose audit log can't
// be written, and returns what it said.
func (d *Domain) Abandon() error {
	d.stop()
	d.Server = nil
	return <-d.ended
}

// Restart ends the server and starts it again.
func (d *Domain) Restart() {
	d.tb.Helper()
	d.Stop()
	d.Start()
}

// Clock is the clock of the domain's server.
func (d *Domain) Clock() clock.Clock { return d.o.Clock }

// Pin is the hash of the server's TLS key.
func (d *Domain) Pin() wire.Hash { return d.pin }

// UnlockWith changes what opens the root at the next start.
func (d *Domain) UnlockWith(unlock func() root.Unlock) { d.unlock = unlock }

// Adopt turns to a server of the same directory that runs in another process.
func (d *Domain) Adopt(address string) {
	d.tb.Helper()
	// Nothing is believed of this connection but who is at its other end.
	conn, err := tls.Dial("tcp", address, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	d.must(err)
	defer conn.Close()
	d.Address, d.pin = address, wire.KeyHash(conn.ConnectionState().PeerCertificates[0].PublicKey)
}

// Introduction fetches what the server says of itself, verified.
func (d *Domain) Introduction() (signed []byte, descriptor *wire.Descriptor, state *members.State) {
	d.tb.Helper()
	answer := d.Send(nil, Message{Method: "GET", Path: "/v1/introduction"})
	if answer.Status != 200 {
		d.tb.Fatalf("introduction: %d %s", answer.Status, answer.Body)
	}
	in, err := wire.ParseIntroduction(answer.Body)
	d.must(err)
	state, err = members.Verify(in.Members, d.Founded.Domain)
	d.must(err)
	descriptor, err = wire.ParseDescriptor(in.Descriptor, d.ServerKey())
	d.must(err)
	return in.Descriptor, descriptor, state
}

// ServerKey is the honest server's signing key.
func (d *Domain) ServerKey() crypto.PublicKey {
	d.tb.Helper()
	state, err := members.Verify(d.Founded.Members, d.Founded.Domain)
	d.must(err)
	key, err := state.ServerKey(d.Founded.Server)
	d.must(err)
	return key
}

// Key returns the state of a key.
func (d *Domain) Key(name string) *authority.Key {
	d.tb.Helper()
	k := d.State().KeyNamed(name)
	if k == nil {
		d.tb.Fatalf("there is no key %s", name)
	}
	return k
}
