// SPDX-License-Identifier: Apache-2.0

// Package fakeserver is a trust domain for tests of those who ask key servers: it
// answers as docs/spec/release.md says, out of a few maps, and lies where a test
// wants it to.
//
//	d := fakeserver.New(t, fakeserver.Options{Clock: clk})
//	s := d.Server("one")
//	d.AddKey("payments/cards")
//	s.Lie.Grant = func(g *wire.Grant) { g.Client = "spiffe://acme/workload/other" }
//
// A [Server] is reached by its methods, as a transport's routes are, or through
// [Server.Listen] over TLS. What it signs after a lie is validly signed: the lies
// are those of a server, of the wrong server, or of whoever carries the message.
//
// It deliberately has no policy, no audit log and no store: those are tested
// against package keyserver.
package fakeserver

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/kdf"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Options of New.
type Options struct {
	Demo  bool
	Clock clock.Clock // the servers'; required
}

// Key is one key of the domain. Change it while nobody asks.
type Key struct {
	Name       string
	ID         wire.KeyID
	Versions   []Version
	Lease      uint32 // seconds
	Staleness  uint32 // seconds
	Revocation wire.RevocationID
	Denied     string // the reason for which all is refused; empty if nothing is
}

// Version is one version of a key.
type Version struct {
	State  string
	secret *secret.Bytes
}

// invite is what a domain keeps of an invite.
type invite struct {
	key    crypto.PublicKey
	client string
	used   bool
}

// Domain is a trust domain with one admin.
type Domain struct {
	tb    testing.TB
	clock clock.Clock
	admin ed25519.PrivateKey
	ca    *authority

	mu      sync.Mutex
	state   *members.State
	epoch   wire.Epoch
	head    wire.Hash
	keys    map[string]*Key
	invites map[wire.BodyID]invite
	revoked []wire.RevocationID
	first   ed25519.PrivateKey // signing key of the founding server
	founded bool               // Server was called for it
}

// New founds a domain whose first server is the first that Server names.
func New(tb testing.TB, o Options) *Domain {
	tb.Helper()
	d := &Domain{
		tb: tb, clock: o.Clock, admin: newKey(), first: newKey(), epoch: wire.Epoch{Generation: 1, Position: 1},
		head: wire.Sum("head", []byte{1}), keys: map[string]*Key{}, invites: map[wire.BodyID]invite{},
	}
	d.ca = newAuthority(tb, o.Clock)
	genesis := members.Genesis{
		Name: "acme", Demo: o.Demo, Keys: members.Keys{Keys: []members.Key{{Name: "ada", Public: d.der(d.admin.Public())}}, Threshold: 1},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://acme/workload/", Embedded: true}},
		Server:  d.join("one", d.first), RootGeneration: 1, Root: wire.Hash{1},
	}
	rand.Read(genesis.Random[:])
	body := wire.Body{Type: wire.TypeBody, Kind: members.KindGenesis, ID: bodyID(), Expires: wire.MaxTime, Payload: wire.Marshal(genesis)}
	state, err := members.Found(d.sign(body))
	d.must(err)
	d.state = state
	return d
}

func newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("fakeserver: key generation: " + err.Error())
	}
	return key
}

func bodyID() (id wire.BodyID) {
	rand.Read(id[:])
	return id
}

func (d *Domain) must(err error) {
	if err != nil {
		d.tb.Helper()
		d.tb.Fatal(err)
	}
}

func (d *Domain) der(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	d.must(err)
	return der
}

func (d *Domain) sign(body wire.Body, more ...crypto.Signer) []byte {
	signed, err := wire.Sign(wire.TypeBody, wire.Marshal(body), append([]crypto.Signer{d.admin}, more...)...)
	d.must(err)
	return signed
}

func (d *Domain) join(name string, key ed25519.PrivateKey) members.Server {
	return members.Server{Name: name, Key: d.der(key.Public()), EpochKey: wire.NewKey().Public()}
}

// Change adds a link to the member chain, signed by the admin and by more, and
// moves the epoch on.
func (d *Domain) Change(kind string, payload any, more ...crypto.Signer) {
	d.tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	body := wire.Body{
		Type: wire.TypeBody, Domain: d.state.Domain, Kind: kind, ID: bodyID(), Base: d.epoch, BaseHead: d.head,
		Expires: wire.MaxTime, Replaces: d.state.Newest, Payload: wire.Marshal(payload),
	}
	state, err := d.state.Apply(d.sign(body, more...))
	d.must(err)
	d.state = state
	if kind == members.KindRestore {
		d.epoch.Generation++
	}
	d.tick()
}

// Tick moves the epoch on by one record.
func (d *Domain) Tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tick()
}

func (d *Domain) tick() {
	d.epoch.Position++
	d.head = wire.Sum("head", d.head[:], []byte{byte(d.epoch.Generation)})
}

// Rewind sets epoch and head, as a store that was put back would.
func (d *Domain) Rewind(epoch wire.Epoch, head wire.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch, d.head = epoch, head
}

// At is the present epoch with its head.
func (d *Domain) At() (wire.Epoch, wire.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch, d.head
}

// Members is the present membership.
func (d *Domain) Members() *members.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// ID is the domain id.
func (d *Domain) ID() wire.DomainID { return d.state.Domain }

// AddKey adds a key with one active version and a lease of an hour.
func (d *Domain) AddKey(name string) *Key {
	k := &Key{Name: name, Lease: 3600, Staleness: 900, Versions: []Version{{wire.StateActive, secret.Random(32)}}}
	rand.Read(k.ID[:])
	rand.Read(k.Revocation[:])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[name] = k
	return k
}

// Rotate adds a version and deactivates the one before.
func (d *Domain) Rotate(k *Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k.Versions[len(k.Versions)-1].State = wire.StateDeactivated
	k.Versions = append(k.Versions, Version{wire.StateActive, secret.Random(32)})
	d.tick()
}

// Set changes a key under the domain's lock.
func (d *Domain) Set(k *Key, change func(*Key)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(k)
}

// Revoke lists an id in statements and refuses the key, if it is one's.
func (d *Domain) Revoke(id wire.RevocationID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revoked = append(d.revoked, id)
	for _, k := range d.keys {
		if k.Revocation == id {
			k.Denied = "the key is disabled"
		}
	}
	d.tick()
}

// Leaf is the leaf key that an honest server releases.
func (d *Domain) Leaf(k *Key, version uint64, purpose string, partition []byte) *secret.Bytes {
	return kdf.Leaf(k.Versions[version-1].secret, d.state.Domain, purpose, partition)
}

// Invite makes an invite for a workload's path, to be redeemed at the given
// addresses.
func (d *Domain) Invite(path string, addresses ...string) *wire.Invite {
	key := newKey()
	in := &wire.Invite{
		Type: wire.TypeInvite, Domain: d.state.Domain, Members: d.Members().Newest, Addresses: addresses, ID: bodyID(),
		Seed: key.Seed(), Client: "spiffe://acme/workload/" + path, Expires: d.clock.Now().Add(time.Hour).UnixMilli(),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.invites[in.ID] = invite{key: key.Public(), client: in.Client}
	return in
}
