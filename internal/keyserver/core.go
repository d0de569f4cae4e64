// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/members"
	"claviger/internal/pki"
	"claviger/internal/pki/ca"
	"claviger/internal/policy"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/store/bbolt"
	"claviger/internal/wire"
)

// Core is an unsealed server: the choke point and what it stands on.
type Core struct {
	o       Options
	clock   clock.Clock
	logger  *slog.Logger
	store   store.Store
	root    *root.Secret
	seals   *seals
	signer  crypto.Signer
	id      wire.ServerID
	log     *authority.Log
	keys    *hierarchy.Hierarchy
	audit   *audit.Log
	budget  *audit.Budget
	ca      *ca.CA
	naming  *secret.HMAC // client → revocation id
	policy  atomic.Pointer[policySet]
	trust   atomic.Pointer[trustSet]
	seen    *replays
	own     *identity
	execMu  sync.Mutex
	metrics *metrics
}

// policySet is the parsed policy of one hash.
type policySet struct {
	hash   wire.Hash
	set    *policy.Set
	blob   wire.Hash
	schema wire.Hash
}

// trustSet is the certificate verifier of one member chain.
type trustSet struct {
	members wire.Hash
	chains  *pki.Verifier
}

// openCore replays the log and opens everything. On an error nothing stays open.
func openCore(ctx context.Context, o Options, secretRoot *root.Secret, tlsKey wire.Hash) (*Core, error) {
	c := &Core{o: o, clock: o.Clock, logger: o.Logger, root: secretRoot, seen: newReplays(o.Clock), metrics: o.metrics}
	if err := c.open(ctx, tlsKey); err != nil {
		c.close(ctx)
		return nil, err
	}
	return c, nil
}

func (c *Core) open(ctx context.Context, tlsKey wire.Hash) error {
	var err error
	if c.seals, err = deriveSeals(c.root, c.o.Domain); err != nil {
		return err
	}
	naming := kdf.Expand(c.seals.local, c.o.Domain, "revocation-id")
	c.naming = secret.NewHMAC(naming)
	naming.Wipe()
	signing := signingFile{filepath.Join(c.o.Dir, dirPKI, fileSigning), c.o.Domain, c.seals.local}
	if c.signer, err = signing.read(); err != nil {
		return err
	}
	c.id = wire.ServerIDOf(c.signer.Public())
	st, err := bbolt.Open(filepath.Join(c.o.Dir, fileStore), bbolt.Options{Existing: true})
	if err != nil {
		return err
	}
	c.store = st
	if err := c.openLog(ctx); err != nil {
		return err
	}
	if err := c.openKeys(ctx); err != nil {
		return err
	}
	if err := c.openAudit(); err != nil {
		return err
	}
	c.own, err = newIdentity(c, tlsKey)
	return err
}

func (c *Core) openLog(ctx context.Context) error {
	var err error
	c.log, err = authority.Open(ctx, authority.Options{
		Store: c.store, Domain: c.o.Domain, BodySeal: c.seals.body, SlotSeal: c.seals.slot, LocalSeal: c.seals.local,
		HeadPath: filepath.Join(c.o.Dir, fileHead), Server: c.id, Signer: c.signer, Clock: c.clock,
		Namer: c.revocationID, Accept: c.o.Accept,
	})
	if err != nil {
		return err
	}
	var m *members.State
	c.log.View(func(s *authority.State) { m = s.Members })
	// Security: whoever swaps the custody file for another root's is told here,
	// not by keys that don't fit (T-43).
	if wire.Hash(c.root.Fingerprint()) != m.Genesis.Root {
		return fmt.Errorf("%w: the root secret is not this domain's", ErrForeign)
	}
	if m.Genesis.Demo != c.o.Demo {
		return ErrDemo
	}
	if _, err := m.ServerKey(c.id); err != nil {
		return fmt.Errorf("this server may not serve: %w", err)
	}
	seed := secret.Expand(c.seals.ca, kdf.Info("ca-seed", c.o.Domain), ca.SeedSize)
	defer seed.Wipe()
	if c.ca, err = ca.New(m.Genesis.Name, seed, c.clock); err != nil {
		return err
	}
	_, err = c.currentTrust()
	return err
}

// ErrDemo means that a demo domain was opened outside demo mode, or a real one
// in it.
var ErrDemo = errors.New("demo mode and real domains don't mix: run a demo domain with `claviger demo`, a real one with `claviger server`")

func (c *Core) openKeys(ctx context.Context) error {
	logged := hierarchy.Logged{}
	var raw []byte
	c.log.View(func(s *authority.State) { raw = s.Switch })
	if raw != nil {
		var sw hierarchy.Switch
		if err := wire.Unmarshal(raw, &sw, wire.MaxBody); err != nil {
			return fmt.Errorf("erasure switch in the log: %w", err)
		}
		logged = hierarchy.Logged{Epoch: sw.To, Switch: &sw}
	}
	var err error
	c.keys, err = hierarchy.Open(ctx, hierarchy.Options{
		Custody: c.root, Domain: c.o.Domain, Generation: 1, Server: c.id, Slots: c.store,
		Dir: filepath.Join(c.o.Dir, dirRoot),
	}, logged)
	return err
}

func (c *Core) openAudit() error {
	o := audit.Options{
		Dir: filepath.Join(c.o.Dir, dirAudit), Domain: c.o.Domain, Server: c.id, Signer: c.signer, Clock: c.clock,
	}
	c.log.View(func(s *authority.State) {
		if at, ok := s.Anchor(c.id); ok {
			o.Anchor = &at
		}
	})
	var err error
	if c.audit, err = audit.Open(o); err != nil {
		return err
	}
	c.budget = audit.NewBudget(c.clock, 0, 0)
	if gone := c.audit.Opened().GivenUp; gone != "" {
		c.logger.Error("audit log given up, the next number was opened", "reason", gone)
	}
	return nil
}

// close ends everything in order; it also ends a Core that is half open.
func (c *Core) close(ctx context.Context) error {
	var errs []error
	if c.audit != nil {
		errs = append(errs, c.writeBudget(true), c.anchor(ctx), c.audit.Close())
	}
	if c.keys != nil {
		c.keys.Close()
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.seals != nil {
		c.seals.wipe()
	}
	c.naming.Wipe()
	c.root.Wipe()
	return errors.Join(errs...)
}

// revocationID names a client in statements without showing who is meant.
func (c *Core) revocationID(client string) wire.RevocationID {
	sum := c.naming.Sum([]byte(client))
	return wire.RevocationID(sum[:16])
}

// currentPolicy is the policy in force, parsed once per set.
func (c *Core) currentPolicy(s *authority.PolicySet) (*policySet, error) {
	if have := c.policy.Load(); have != nil && have.hash == s.Hash {
		return have, nil
	}
	set, err := policy.Parse(s.Source)
	if err != nil {
		return nil, fmt.Errorf("%w: the policy in force does not parse: %w", ErrUnavailable, err)
	}
	next := &policySet{hash: s.Hash, set: set}
	for _, b := range []struct {
		to   *wire.Hash
		data []byte
	}{{&next.blob, s.Source}, {&next.schema, []byte(policy.Schema)}} {
		if len(b.data) == 0 {
			continue
		}
		if *b.to, err = c.audit.Blob(b.data); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	c.policy.Store(next)
	return next, nil
}

// currentTrust is what the present members say about workloads' certificates.
func (c *Core) currentTrust() (authn.Trust, error) {
	var m *members.State
	c.log.View(func(s *authority.State) { m = s.Members })
	// The revoked still prove who they are: Do denies them, so that the refusal is
	// signed and recorded instead of looking like a broken connection.
	t := authn.Trust{Domain: c.o.Domain, Revocations: authn.RevokedFunc(func(string) bool { return false })}
	if have := c.trust.Load(); have != nil && have.members == m.Newest {
		t.Chains = have.chains
		return t, nil
	}
	anchors := make([]pki.Anchor, 0, len(m.Anchors))
	for _, a := range m.Anchors {
		anchor, err := c.anchorOf(a)
		if err != nil {
			return t, err
		}
		anchors = append(anchors, anchor)
	}
	chains, err := pki.NewVerifier(m.Genesis.Name, anchors)
	if err != nil {
		return t, fmt.Errorf("trust anchors: %w", err)
	}
	c.trust.Store(&trustSet{members: m.Newest, chains: chains})
	t.Chains = chains
	return t, nil
}

func (c *Core) anchorOf(a members.Anchor) (pki.Anchor, error) {
	if a.Embedded {
		return c.ca.Anchor()
	}
	out := pki.Anchor{Prefix: a.Prefix}
	if !a.NeedCRL {
		out.MaxLifetime = pki.ShortLived
	}
	var err error
	if out.Roots, err = parseCertificates(a.Roots); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", a.Name, err)
	}
	if out.Intermediates, err = parseCertificates(a.Intermediates); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", a.Name, err)
	}
	if a.NeedCRL {
		out.CRLs, err = readCRLs(filepath.Join(c.o.Dir, dirPKI, a.Name+".crl"))
	}
	return out, err
}

func parseCertificates(ders [][]byte) ([]*x509.Certificate, error) {
	out := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	return out, nil
}

// now is the time that decisions use.
func (c *Core) now() time.Time { return c.clock.Now() }
