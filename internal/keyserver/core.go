// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/keyserver/anchors"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/hearsay"
	"claviger/internal/keyserver/holding"
	"claviger/internal/keyserver/identity"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/keyserver/limits"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/keyserver/secretwork"
	"claviger/internal/keyserver/sendtoken"
	"claviger/internal/keyserver/standing"
	"claviger/internal/members"
	"claviger/internal/pki"
	"claviger/internal/pki/ca"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/store/bbolt"
	"claviger/internal/wire"
)

// Core is an unsealed server: the choke point and what it stands on.
type Core struct {
	o       Options
	dir     datadir.Dir
	clock   clock.Clock
	logger  *slog.Logger
	store   store.Store
	root    *root.Secret
	seals   *datadir.Seals
	signer  crypto.Signer
	id      wire.ServerID
	log     *authority.Log
	ledger  *executor.Ledger
	exec    *executor.Executor
	keys    *hierarchy.Hierarchy
	worker  *keywork.Worker
	audit   *audit.Log
	budget  *audit.Budget
	ca      *ca.CA
	anchors *anchors.Anchors
	naming  *secret.HMAC // client → revocation id
	tokens  *sendtoken.Tokens
	ending  <-chan struct{} // closed when a seal begins
	policy  *policyset.InForce
	seen    *limits.Replays
	gate    *limits.Gate
	own     *identity.Identity
	holding *holding.Holding
	secrets *secretwork.Worker
	ahead   *standing.Standing
	hearsay *hearsay.Hearsay

	switching sync.RWMutex // held for reading from a decision to its keys, for writing while the erasure epoch changes
	alarmed   atomic.Int64 // boot time of the newest policy alarm's leaf
	closed    atomic.Bool
}

// openCore replays the log and opens everything. On an error nothing stays open.
func openCore(ctx context.Context, o Options, secretRoot *root.Secret, gate *limits.Gate) (*Core, error) {
	c := &Core{
		o: o, dir: datadir.Dir(o.Dir), clock: o.Clock, logger: o.Logger, root: secretRoot,
		seen: limits.NewReplays(o.Clock), gate: gate,
	}
	if err := c.open(ctx); err != nil {
		c.close(ctx)
		return nil, err
	}
	return c, nil
}

func (c *Core) open(ctx context.Context) error {
	var err error
	if c.seals, err = datadir.DeriveSeals(c.root, c.o.Domain); err != nil {
		return err
	}
	naming := kdf.Expand(c.seals.Local, c.o.Domain, "revocation-id")
	c.naming = secret.NewHMAC(naming)
	naming.Wipe()
	c.tokens = sendtoken.New(c.seals.Local, c.o.Domain)
	if c.signer, err = c.dir.Signer(c.o.Domain, c.seals.Local); err != nil {
		return err
	}
	c.id = wire.ServerIDOf(c.signer.Public())
	st, err := bbolt.Open(c.dir.Store(), bbolt.Options{Existing: true})
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
	c.openSecrets()
	if err = errors.Join(c.openIdentity(), c.openHearsay(), c.openStanding(ctx)); err != nil {
		return err
	}
	if c.holding, err = holding.Open(holding.Options{
		Log: c.log, Audit: c.audit, Server: c.id, Clock: c.clock, Name: c.revocationID, Observe: c.o.Meter.Dark,
	}); err != nil {
		c.logger.Error("Who holds leases of an earlier run is unknown", "error", err)
		c.alarm(ctx, "holders", "who holds leases of an earlier run is unknown: "+err.Error())
	}
	if gone := c.audit.Opened().GivenUp; gone != "" {
		c.logger.Error("Audit log given up, the next number was opened", "reason", gone)
		c.o.Meter.Alarm("audit")
		c.alarm(ctx, "audit", "a log was given up: "+gone)
	}
	return nil
}

func (c *Core) openLog(ctx context.Context) error {
	var err error
	c.log, err = authority.Open(ctx, authority.Options{
		Store: c.store, Domain: c.o.Domain, BodySeal: c.seals.Body, SlotSeal: c.seals.Slot, LocalSeal: c.seals.Local,
		HeadPath: c.dir.Head(), Server: c.id, Signer: c.signer, Clock: c.clock,
		Namer: c.revocationID, Accept: c.o.Accept, Logger: c.logger,
	})
	if err != nil {
		return err
	}
	m := c.Members()
	// Security: whoever swaps the custody file for another root's is told here,
	// not by keys that don't fit (T-43).
	if wire.Hash(c.root.Fingerprint()) != m.Genesis.Root {
		return fmt.Errorf("%w: the root secret is not this domain's", datadir.ErrForeign)
	}
	if m.Genesis.Demo != c.o.Demo {
		return ErrDemo
	}
	if _, err := m.ServerKey(c.id); err != nil {
		return fmt.Errorf("this server may not serve: %w", err)
	}
	seed := secret.Expand(c.seals.CA, kdf.Info("ca-seed", c.o.Domain), ca.SeedSize)
	defer seed.Wipe()
	if c.ca, err = ca.New(m.Genesis.Name, seed, c.clock); err != nil {
		return err
	}
	c.anchors = anchors.New(anchors.Options{
		Dir: c.dir.PKI(), Embedded: func() (pki.Anchor, error) { return c.ca.Anchor() }, Logger: c.logger, Alarm: c.o.Meter.Alarm,
	})
	_, err = c.Trust()
	return err
}

// ErrDemo means that a demo domain was opened outside demo mode, or a real one
// in it.
var ErrDemo = errors.New("demo mode and real domains don't mix: run a demo domain with `claviger demo`, a real one with `claviger server`")

func (c *Core) openKeys(ctx context.Context) error {
	logged := hierarchy.Logged{}
	var sw *hierarchy.Switch
	var err error
	c.log.View(func(s *authority.State) { sw, err = executor.LoggedSwitch(s) })
	if err != nil {
		return err
	}
	if sw != nil {
		logged = hierarchy.Logged{Epoch: sw.To, Switch: sw}
	}
	c.keys, err = hierarchy.Open(ctx, hierarchy.Options{
		Custody: c.root, Domain: c.o.Domain, Generation: 1, Server: c.id, Slots: c.store,
		Dir: c.dir.Root(),
	}, logged)
	if err != nil {
		return err
	}
	c.worker = keywork.New(c.keys, c.o.Domain)
	c.ledger = executor.NewLedger(c.log, c.signer, c.clock)
	c.exec = executor.New(executor.Options{
		Server: c.id, Ledger: c.ledger, Keys: c.keys, Clock: c.clock, Logger: c.logger, Switching: &c.switching, Erased: c.worker.Forget,
	})
	return nil
}

func (c *Core) openAudit() error {
	o := audit.Options{
		Dir: c.dir.Audit(), Domain: c.o.Domain, Server: c.id, Signer: c.signer, Clock: c.clock, FS: c.o.AuditFS,
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
	c.budget, c.policy = audit.NewBudget(c.clock, 0, 0), policyset.New(c.audit)
	return nil
}

// close ends everything in order; it also ends a Core that is half open.
func (c *Core) close(ctx context.Context) error {
	c.closed.Store(true)
	var errs []error
	if c.audit != nil {
		errs = append(errs, c.budget.Write(c.audit, true), c.anchor(ctx), c.audit.Close())
	}
	if c.worker != nil {
		c.worker.Forget()
	}
	if c.keys != nil {
		c.keys.Close()
	}
	if c.store != nil {
		c.log.Close()
		errs = append(errs, c.store.Close())
	}
	if c.seals != nil {
		c.seals.Wipe()
	}
	if c.own != nil {
		c.own.Wipe()
	}
	if c.ahead != nil {
		c.ahead.Wipe()
	}
	if c.naming != nil {
		c.naming.Wipe()
	}
	c.tokens.Wipe()
	if key, ok := c.signer.(ed25519.PrivateKey); ok {
		secret.Wipe(key)
	}
	c.root.Wipe()
	return errors.Join(errs...)
}

// revocationID names a client in statements without showing who is meant.
func (c *Core) revocationID(client string) wire.RevocationID {
	sum := c.naming.Sum([]byte(client))
	return wire.RevocationID(sum[:16])
}

// currentPolicy is the policy in force.
func (c *Core) currentPolicy(s *authority.PolicySet) (*policyset.Set, error) {
	set, err := c.policy.Get(s)
	return set, unavailable(err)
}

// Usable says why nothing may be decided or vouched for, nil while it may.
func (c *Core) Usable() error {
	if err := c.sound(); err != nil {
		return err
	}
	return unavailable(c.hearsay.Err())
}

// sound is Usable for people, who see and settle what others say.
func (c *Core) sound() error {
	if c.closed.Load() {
		return ErrSealed
	}
	if err := errors.Join(c.log.Err(), c.audit.Healthy()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Now is the server's wall clock.
func (c *Core) Now() time.Time { return c.clock.Now() }

// Members are the members of the present state. They never change; the next
// state has others.
func (c *Core) Members() (m *members.State) {
	c.log.View(func(s *authority.State) { m = s.Members })
	return m
}

// Trust is what the present members, and the revocation lists of their outside
// anchors, say about workloads' certificates.
func (c *Core) Trust() (authn.Trust, error) {
	// The revoked still prove who they are: Do denies them, so that the refusal is
	// signed and recorded instead of looking like a broken connection.
	t := authn.Trust{Domain: c.o.Domain, Revocations: authn.RevokedFunc(func(string) bool { return false })}
	chains, err := c.anchors.Verifier(c.Members())
	if err != nil {
		return t, err
	}
	t.Chains = chains
	return t, nil
}

// Admit takes a place for a request with public-key work that does not come
// through Exchange or Enroll, or fails at once with ErrBusy.
func (c *Core) Admit() (leave func(), err error) { return c.gate.Admit() }

func (c *Core) epoch() (e wire.Epoch) {
	c.log.View(func(s *authority.State) { e = s.Epoch })
	return e
}
