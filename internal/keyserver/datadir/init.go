// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/members"
	"claviger/internal/pki"
	"claviger/internal/root"
	"claviger/internal/store/bbolt"
	"claviger/internal/wire"
)

// InitOptions of a new domain.
type InitOptions struct {
	Dir        string // data directory; root/ in it holds the custody file already
	Name       string // display name and SPIFFE trust domain
	Demo       bool
	Strict     bool // backups carry no erasure-epoch key
	Root       *root.Secret
	Keys       members.Keys
	Recovery   members.Recovery
	Anchors    []members.Anchor // none: the embedded CA alone
	ServerName string           // "" stands for "server1"
	Admin      crypto.Signer    // the first admin, who signs the genesis
	Clock      clock.Clock
}

// Founded is what init made.
type Founded struct {
	Domain  wire.DomainID
	Members [][]byte // the member chain: the signed genesis
	Server  wire.ServerID
	Epoch   wire.Epoch
}

// Init founds a domain: the server's keys, the genesis, and the first record of
// the authority log in Dir. It writes over nothing.
func Init(ctx context.Context, o InitOptions) (*Founded, error) {
	if err := pki.CheckTrustDomain(o.Name); err != nil {
		return nil, err
	}
	first, err := hierarchy.Generate()
	if err != nil {
		return nil, err
	}
	defer first.Wipe()
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	genesis, founded, err := found(o, signing, first.Public())
	if err != nil {
		return nil, err
	}
	seals, err := DeriveSeals(o.Root, founded.Domain)
	if err != nil {
		return nil, err
	}
	defer seals.Wipe()
	files := signingFile{Dir(o.Dir).signing(), founded.Domain, seals.Local}
	if err := files.write(signing); err != nil {
		return nil, err
	}
	return founded, writeDomain(ctx, o, founded, seals, first, genesis)
}

// found builds and signs the genesis.
func found(o InitOptions, signing ed25519.PrivateKey, epochKey []byte) ([]byte, *Founded, error) {
	der, err := x509.MarshalPKIXPublicKey(signing.Public())
	if err != nil {
		return nil, nil, err
	}
	if o.ServerName == "" {
		o.ServerName = "server1"
	}
	prefix, err := pki.EmbeddedPrefix(o.Name)
	if err != nil {
		return nil, nil, err
	}
	if len(o.Anchors) == 0 {
		o.Anchors = []members.Anchor{{Name: "embedded", Prefix: prefix, Embedded: true}}
	}
	g := members.Genesis{
		Name: o.Name, Demo: o.Demo, Strict: o.Strict, Keys: o.Keys, Recovery: o.Recovery, Anchors: o.Anchors,
		Server:         members.Server{Name: o.ServerName, Key: der, EpochKey: epochKey},
		RootGeneration: 1, Root: wire.Hash(o.Root.Fingerprint()),
	}
	rand.Read(g.Random[:])
	genesis, err := authority.Genesis(g, o.Clock.Now(), o.Admin)
	if err != nil {
		return nil, nil, err
	}
	state, err := members.Found(genesis)
	if err != nil {
		return nil, nil, err
	}
	return genesis, &Founded{
		Domain: state.Domain, Members: state.Chain, Server: wire.ServerIDOf(signing.Public()),
		Epoch: wire.Epoch{Generation: 1, Position: 1},
	}, nil
}

func writeDomain(ctx context.Context, o InitOptions, f *Founded, s *Seals, first *hierarchy.First, genesis []byte) error {
	st, err := bbolt.Open(Dir(o.Dir).Store(), bbolt.Options{})
	if err != nil {
		return err
	}
	defer st.Close()
	dir := Dir(o.Dir).Root()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err = hierarchy.Init(hierarchy.Options{
		Custody: o.Root, Domain: f.Domain, Generation: 1, Server: f.Server, Slots: st, Dir: dir,
	}, first)
	if err != nil {
		return fmt.Errorf("write first epoch file: %w", err)
	}
	_, err = authority.Create(ctx, authority.Options{
		Store: st, Domain: f.Domain, BodySeal: s.Body, SlotSeal: s.Slot, LocalSeal: s.Local,
		HeadPath: Dir(o.Dir).Head(), Server: f.Server, Clock: o.Clock,
	}, genesis)
	if err != nil {
		return err
	}
	return errors.Join(st.Close())
}
