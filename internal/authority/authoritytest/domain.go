// SPDX-License-Identifier: Apache-2.0

// Package authoritytest founds domains in memory, with one admin and one server,
// for the tests of what follows an authority log. A [Domain] has a log and no key
// server: no key is derived, nothing is served.
package authoritytest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Domain is a domain of one admin, ann, and one server, server1.
type Domain struct {
	*testing.T
	ID      wire.DomainID
	Clock   *clock.Manual
	Admin   ed25519.PrivateKey
	Server  ed25519.PrivateKey
	Log     *authority.Log
	Options authority.Options // of Log; its store is a store.NewMem
}

// New founds a domain of its own, on 21 November 2026 at noon by its clock.
func New(t *testing.T) *Domain {
	t.Helper()
	d := &Domain{T: t, Clock: clock.NewManual(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)), Admin: newKey(), Server: newKey()}
	g := members.Genesis{
		Name: "acme", RootGeneration: 1, Root: wire.Sum("root"),
		Keys:    members.Keys{Threshold: 1, Keys: []members.Key{{Name: "ann", Public: d.Public(d.Admin)}}},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://acme/workload/", Embedded: true}},
		Server:  members.Server{Name: "server1", Key: d.Public(d.Server), EpochKey: wire.NewKey().Public()},
	}
	rand.Read(g.Random[:])
	genesis, err := authority.Genesis(g, d.Clock.Now(), d.Admin)
	d.must(err)
	found, err := members.Found(genesis)
	d.must(err)
	d.ID = found.Domain
	d.Options = authority.Options{
		Store: store.NewMem(), Domain: d.ID, BodySeal: secret.Random(32), SlotSeal: secret.Random(32), LocalSeal: secret.Random(32),
		Server: d.ServerID(), Signer: d.Server, Clock: d.Clock, Namer: Name, Fresh: true,
	}
	d.Log, err = authority.Create(t.Context(), d.Options, genesis)
	d.must(err)
	return d
}

// Name is the revocation id of a client in these domains.
func Name(client string) wire.RevocationID {
	sum := wire.Sum("name", []byte(client))
	return wire.RevocationID(sum[:16])
}

// ServerID is the id of server1.
func (d *Domain) ServerID() wire.ServerID { return wire.ServerIDOf(d.Server.Public()) }

// Append appends a body to a log of the domain: Log, or another that was opened on
// its store.
func (d *Domain) Append(to *authority.Log, kind string, payload any, by ...crypto.Signer) {
	d.Helper()
	var entry []byte
	var err error
	to.View(func(s *authority.State) { entry, err = s.Entry(kind, payload, d.Clock.Now().Add(time.Hour), by...) })
	if err == nil {
		_, err = to.Append(context.Background(), entry)
	}
	if err != nil {
		d.Fatal(kind, err)
	}
}

// Create appends a key with leases of an hour and a staleness
// bound of a quarter of one.
func (d *Domain) Create(to *authority.Log, id wire.KeyID, name string) {
	d.Helper()
	d.Append(to, authority.KindKeyCreate, authority.KeyCreate{
		ID: id, Name: name, Algorithm: authority.AES256, Revocation: wire.RevocationID(id),
		Settings: authority.Settings{Lease: 3600, Staleness: 900},
	}, d.Admin)
}

// Version appends a version of a key, of no key material.
func (d *Domain) Version(id wire.KeyID, number uint64) {
	d.Helper()
	d.Append(d.Log, authority.KindKeyVersion, authority.KeyVersion{
		ID: id, Number: number, RootGeneration: 1, Segment: [16]byte{1}, VC: wire.Hash{1}, Revocation: wire.RevocationID{byte(number), 2},
	}, d.Server)
}

// At is where a log stands.
func At(log *authority.Log) (e wire.Epoch, head wire.Hash) {
	log.View(func(s *authority.State) { e, head = s.Epoch, s.Head })
	return e, head
}

func newKey() ed25519.PrivateKey {
	_, key, _ := ed25519.GenerateKey(rand.Reader) // only a failing reader fails, and this one doesn't
	return key
}

// Public is the public half of a key, as members name it: a DER SubjectPublicKeyInfo.
func (d *Domain) Public(key ed25519.PrivateKey) []byte {
	d.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	d.must(err)
	return der
}

func (d *Domain) must(err error) {
	if err != nil {
		d.Helper()
		d.Fatal(err)
	}
}
