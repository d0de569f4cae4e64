// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/keyserver/hearsay"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// changeling is a store that can become another one under those who use it.
type changeling struct {
	mu  sync.Mutex
	now store.Store
}

func (c *changeling) become(s store.Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = s
}

func (c *changeling) get() store.Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *changeling) Append(ctx context.Context, after uint64, record []byte) error {
	return c.get().Append(ctx, after, record)
}

func (c *changeling) Read(ctx context.Context, from uint64, follow bool) iter.Seq2[store.Record, error] {
	return c.get().Read(ctx, from, follow)
}

func (c *changeling) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	return c.get().Get(ctx, key)
}

func (c *changeling) Put(ctx context.Context, key string, old uint64, value []byte) error {
	return c.get().Put(ctx, key, old, value)
}

func (c *changeling) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return c.get().List(ctx, prefix)
}

func (c *changeling) Close() error { return nil }

// copyOf copies the first records of a store's log.
func copyOf(t *testing.T, s store.Store, records int) store.Store {
	t.Helper()
	out := store.NewMem()
	for r, err := range s.Read(t.Context(), 1, false) {
		if err != nil {
			t.Fatal(err)
		}
		if int(r.Index) > records {
			break
		}
		if err := out.Append(t.Context(), r.Index-1, r.Data); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// replica is one of two servers over one store: its log and what it hears.
type replica struct {
	key     ed25519.PrivateKey
	o       authority.Options
	log     *authority.Log
	store   *changeling
	hearsay *hearsay.Hearsay
	alarms  []string
}

// pair is a domain of two servers.
type pair struct {
	*authoritytest.Domain
	shared store.Store
	a, b   *replica
}

const interval = 30 * time.Second

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{Domain: authoritytest.New(t)}
	p.shared = p.Options.Store
	_, second, _ := ed25519.GenerateKey(rand.Reader)
	p.Append(p.Log, members.KindJoin, members.Server{Name: "b", Key: p.Public(second), EpochKey: wire.NewKey().Public()}, p.Admin, second)
	p.a, p.b = p.replica(p.Server), p.replica(second)
	return p
}

// replica starts a server on the shared store.
func (p *pair) replica(key ed25519.PrivateKey) *replica {
	p.Helper()
	r := &replica{key: key, o: p.Options, store: &changeling{now: p.shared}}
	r.o.Store, r.o.HeadPath, r.o.Server, r.o.Signer = r.store, filepath.Join(p.TempDir(), "head"), wire.ServerIDOf(key.Public()), key
	var err error
	r.log, err = authority.Open(p.Context(), r.o)
	p.must(err)
	p.hears(r)
	return r
}

func (p *pair) must(err error) {
	if err != nil {
		p.Helper()
		p.Fatal(err)
	}
}

func (p *pair) hears(r *replica) {
	p.Helper()
	var err error
	r.hearsay, err = hearsay.Open(hearsay.Options{
		Dir: filepath.Join(p.TempDir(), "proofs"), Domain: p.ID, Log: r.log, Clock: p.Clock, Every: interval,
		Own: func(e wire.Epoch, head wire.Hash) ([]byte, error) {
			return wire.Sign(wire.TypeStatement, wire.Marshal(wire.Statement{
				Type: wire.TypeStatement, Domain: p.ID, Server: r.o.Server, Epoch: e, Head: head, Issued: p.Clock.Now().UnixMilli(),
			}), r.key)
		},
		Alarm: func(kind, _ string) { r.alarms = append(r.alarms, kind) },
	})
	p.must(err)
}

// does has an admin change something by a server.
func (p *pair) does(r *replica, kind string, payload any, also ...crypto.Signer) {
	p.Helper()
	p.must(p.tries(r, kind, payload, also...))
}

func (p *pair) tries(r *replica, kind string, payload any, also ...crypto.Signer) error {
	var entry []byte
	var err error
	r.log.View(func(s *authority.State) {
		entry, err = s.Entry(kind, payload, p.Clock.Now().Add(time.Hour), append([]crypto.Signer{p.Admin}, also...)...)
	})
	if err == nil {
		_, err = r.log.Append(p.Context(), entry)
	}
	return err
}

// state has both say what they are at and hear the other, as statements go without
// the store.
func (p *pair) state() {
	p.Helper()
	words := map[*replica][]byte{}
	for _, r := range []*replica{p.a, p.b} {
		if r.err() != nil {
			continue // who has stopped states nothing
		}
		signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(r.statement(p)), r.key)
		p.must(err)
		words[r] = signed
	}
	p.a.hearsay.Hear(words[p.b])
	p.b.hearsay.Hear(words[p.a])
	for r := range words {
		r.hearsay.Look(p.Context())
	}
}

func (r *replica) statement(p *pair) (st wire.Statement) {
	now := p.Clock.Now().UnixMilli()
	r.log.View(func(s *authority.State) {
		st = wire.Statement{
			Type: wire.TypeStatement, Domain: p.ID, Server: r.o.Server, Epoch: s.Epoch, Head: s.Head, Members: s.Members.Newest,
			Issued: now, Revoked: s.Revocations(now),
		}
	})
	return st
}

// err is why a server answers nothing.
func (r *replica) err() error { return errors.Join(r.log.Err(), r.hearsay.Err()) }

// knows reports whether a server's word ends what was revoked.
func (r *replica) knows(p *pair, id wire.RevocationID) bool {
	return slices.Contains(r.statement(p).Revoked, id)
}

// TestStoreUnderTwoServers: a store that shows one of two servers an old state, no
// new one, or another history. Within two statement intervals there is an alarm and
// that server says nothing more, and what was revoked stays so.
func TestStoreUnderTwoServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(p *pair)
		both  bool // whoever is right, people have to decide
	}{
		"rolls back": {fault: func(p *pair) { p.b.store.become(copyOf(p.T, p.shared, 3)) }},
		"freezes":    {fault: func(p *pair) { p.b.store.become(copyOf(p.T, p.shared, 1<<30)) }},
		"forks": {both: true, fault: func(p *pair) {
			p.b.store.become(copyOf(p.T, p.shared, 1<<30))
			p.does(p.b, authority.KindKeyCreate, keyNamed("another/history"))
		}},
		"forks far": {both: true, fault: func(p *pair) {
			p.b.store.become(copyOf(p.T, p.shared, 1<<30))
			for _, name := range []string{"a", "b", "c", "d"} {
				p.does(p.b, authority.KindKeyCreate, keyNamed("another/"+name))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			for _, key := range []string{"one", "two", "three"} {
				p.does(p.a, authority.KindKeyCreate, keyNamed(key))
			}
			p.must(p.b.log.Refresh(t.Context()))
			p.state()
			if err := errors.Join(p.a.err(), p.b.err()); err != nil || len(p.a.alarms)+len(p.b.alarms) != 0 {
				t.Fatalf("before: %v, %v, %v", err, p.a.alarms, p.b.alarms)
			}
			c.fault(p)
			p.does(p.a, authority.KindClientRevoke, authority.Subject{Client: appOne, Reason: "stolen"})
			id := p.a.o.Namer(appOne)
			for passed := time.Duration(0); passed <= 2*interval; passed += interval / 2 {
				p.state()
				p.Clock.Advance(interval / 2)
			}
			p.a.hearsay.Look(t.Context())
			p.b.hearsay.Look(t.Context())
			if len(p.b.alarms) == 0 || p.b.err() == nil {
				t.Errorf("no alarm, or it goes on: %v, %v", p.b.alarms, p.b.err())
			}
			if c.both != (len(p.a.alarms) > 0) || c.both != (p.a.err() != nil) {
				t.Errorf("the other server: %v, %v", p.a.alarms, p.a.err())
			}
			if !p.a.knows(p, id) {
				t.Error("a revocation is gone")
			}
			p.settled(c.both, id)
		})
	}
}

// settled has people fence the server that the store lied to, and looks at what it
// can still do: it doesn't start on the true log, and is believed by nobody.
func (p *pair) settled(forked bool, id wire.RevocationID) {
	t := p.T
	t.Helper()
	p.does(p.a, members.KindFence, members.Fence{Server: p.b.o.Server, Reason: "its store lies"})
	if forked {
		var at wire.Epoch
		var head wire.Hash
		p.a.log.View(func(s *authority.State) { at, head = s.Epoch, s.Head })
		p.does(p.a, members.KindRestore, members.Restore{Generation: at.Generation + 1, Epoch: at, Head: head, Reason: "two histories"})
	}
	p.state()
	if err := p.a.err(); err != nil || !p.a.knows(p, id) {
		t.Errorf("after people decided: %v", err)
	}
	// Put back on the true store, the other one has its history and no other, or it
	// doesn't start; it is a member no more in any case.
	o := p.b.o
	o.Fresh, o.Store = false, p.shared
	again, err := authority.Open(t.Context(), o)
	if err != nil {
		if !forked {
			t.Error(err)
		}
		return
	}
	p.b.log = again
	if got, want := p.b.statement(p), p.a.statement(p); got.Head != want.Head || !p.b.knows(p, id) {
		t.Error("what was revoked has come back")
	}
	again.View(func(s *authority.State) {
		if _, err := s.Members.ServerKey(o.Server); err == nil {
			t.Error("the server that was fenced is a member")
		}
	})
}
