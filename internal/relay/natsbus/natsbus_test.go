// SPDX-License-Identifier: Apache-2.0

package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/wire"
)

const generous = time.Minute

func id(n byte) wire.DomainID { return wire.DomainID{n} }

func open(t testing.TB, o natsbus.Options) *natsbus.Bus {
	t.Helper()
	if o.Domains == nil {
		o.Domains = []wire.DomainID{id(1), id(2)}
	}
	b, err := natsbus.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(generous)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: it didn't come to that", what)
		case <-tick.C:
		}
	}
}

// pairs are two processes of a relay, in each way that they can be put together:
// here and there are one if NATS is embedded.
func pairs(t *testing.T, test func(t *testing.T, here, there *natsbus.Bus)) {
	t.Run("embedded", func(t *testing.T) {
		b := open(t, natsbus.Options{Dir: t.TempDir()})
		test(t, b, b)
	})
	t.Run("one server", func(t *testing.T) {
		urls := natstest.Servers(t, 1)
		test(t, open(t, natsbus.Options{URL: urls[0]}), open(t, natsbus.Options{URL: urls[0]}))
	})
	t.Run("a cluster of three", func(t *testing.T) {
		urls := natstest.Servers(t, 3)
		test(t, open(t, natsbus.Options{URL: urls[0], Replicas: 3}), open(t, natsbus.Options{URL: urls[1], Replicas: 3}))
	})
}

func TestBus(t *testing.T) {
	pairs(t, func(t *testing.T, here, there *natsbus.Bus) {
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		began := time.Now()
		if _, err := here.Ask(ctx, "box.nobody", []byte("x")); !errors.Is(err, relay.ErrNobody) || time.Since(began) > generous/2 {
			t.Errorf("nobody there: %v", err)
		}
		heard := make(chan string, 8)
		stop, err := there.Listen("box.a", func(m relay.Message) {
			heard <- string(m.Data)
			m.Reply([]byte("re:" + string(m.Data)))
		})
		if err != nil {
			t.Fatal(err)
		}
		var reply []byte
		eventually(t, "it is heard everywhere", func() bool {
			reply, err = here.Ask(ctx, "box.a", []byte("ask"))
			return !errors.Is(err, relay.ErrNobody)
		})
		if err != nil || string(reply) != "re:ask" || <-heard != "ask" {
			t.Errorf("%q %v", reply, err)
		}
		if err := here.Tell("box.a", []byte("tell")); err != nil {
			t.Error(err)
		}
		if got := <-heard; got != "tell" {
			t.Errorf("heard %q", got)
		}
		if err := here.Tell("box.nobody", []byte("x")); err != nil {
			t.Errorf("told nobody: %v", err)
		}
		stop()
		eventually(t, "nobody is there afterwards", func() bool {
			ctx, cancel := context.WithTimeout(ctx, time.Second) // servers hear of it one after the other
			defer cancel()
			_, err := here.Ask(ctx, "box.a", []byte("x"))
			return errors.Is(err, relay.ErrNobody)
		})
		silent, err := there.Listen("box.silent", func(relay.Message) {})
		if err != nil {
			t.Fatal(err)
		}
		defer silent()
		short, cancelShort := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancelShort()
		eventually(t, "who doesn't reply is waited for", func() bool {
			_, err := here.Ask(short, "box.silent", []byte("x"))
			return errors.Is(err, context.DeadlineExceeded)
		})
		for _, b := range []*natsbus.Bus{here, there} {
			if err := b.Healthy(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTable(t *testing.T) {
	pairs(t, func(t *testing.T, here, there *natsbus.Bus) {
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		if _, err := here.Get(ctx, "d.i.s"); !errors.Is(err, relay.ErrNotFound) {
			t.Errorf("nothing is there: %v", err)
		}
		first, err := here.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("1")}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := there.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("2")}, time.Hour); !errors.Is(err, relay.ErrConflict) {
			t.Errorf("a second first one: %v", err)
		}
		second, err := there.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("2"), Revision: first}, time.Hour)
		if err != nil || second <= first {
			t.Fatalf("revision %d after %d: %v", second, first, err)
		}
		if _, err := here.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("3"), Revision: first}, time.Hour); !errors.Is(err, relay.ErrConflict) {
			t.Errorf("over a revision that is gone: %v", err)
		}
		if r, err := here.Get(ctx, "d.i.s"); err != nil || string(r.Value) != "2" || r.Revision != second || r.Key != "d.i.s" {
			t.Errorf("%+v %v", r, err)
		}
		if _, err := here.Put(ctx, relay.Record{Key: "d.s.s", Value: []byte("x")}, time.Hour); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		seen := map[string]string{}
		if err := there.Watch(ctx, func(r relay.Record) { mu.Lock(); defer mu.Unlock(); seen[r.Key] = string(r.Value) }); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if len(seen) != 2 || seen["d.i.s"] != "2" || seen["d.s.s"] != "x" {
			t.Errorf("told %v before Watch returned", seen)
		}
		mu.Unlock()
		if _, err := here.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("4"), Revision: second}, time.Second); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the change is told", func() bool { mu.Lock(); defer mu.Unlock(); return seen["d.i.s"] == "4" })
		eventually(t, "the record expires", func() bool {
			_, err := here.Get(ctx, "d.i.s")
			return errors.Is(err, relay.ErrNotFound)
		})
		if _, err := there.Put(ctx, relay.Record{Key: "d.i.s", Value: []byte("5")}, time.Hour); err != nil {
			t.Errorf("a first one again: %v", err)
		}
	})
}

func parcel(domain byte, box byte, data string) relay.Parcel {
	return relay.Parcel{Domain: id(domain), Mailbox: wire.Hash{box}, Expires: clock.System().Now().Add(time.Hour), Data: []byte(data)}
}

func TestParcels(t *testing.T) {
	pairs(t, func(t *testing.T, here, there *natsbus.Bus) {
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		quota := relay.Quota{Parcels: 3, Bytes: 20}
		add := func(b *natsbus.Bus, p relay.Parcel) uint64 {
			t.Helper()
			n, err := b.Add(ctx, p, quota)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		next := func(domain, box byte, after uint64) relay.Parcel {
			t.Helper()
			p, err := there.Next(ctx, id(domain), wire.Hash{box}, after)
			if err != nil && !errors.Is(err, relay.ErrNotFound) {
				t.Fatal(err)
			}
			return p
		}
		if p := next(1, 1, 0); p.Number != 0 {
			t.Errorf("an empty mailbox holds %+v", p)
		}
		one := add(here, parcel(1, 1, "one"))
		if again := add(there, parcel(1, 1, "one")); again != one {
			t.Errorf("the same parcel twice: %d and %d", one, again)
		}
		two, other := add(there, parcel(1, 1, "two")), add(here, parcel(2, 1, "two"))
		if two <= one || other>>40 == two>>40 {
			t.Errorf("numbers %d, %d and %d", one, two, other)
		}
		got := next(1, 1, 0)
		if string(got.Data) != "one" || got.Number != one || got.Mailbox != (wire.Hash{1}) || got.Domain != id(1) || got.Expires.Before(clock.System().Now()) {
			t.Errorf("%+v", got)
		}
		if p := next(1, 1, one); string(p.Data) != "two" {
			t.Errorf("after the first: %+v", p)
		}
		if p := next(1, 1, two); p.Number != 0 {
			t.Errorf("after the last: %+v", p)
		}
		if p := next(1, 0, one); string(p.Data) != "two" {
			t.Errorf("of any mailbox: %+v", p)
		}
		add(here, parcel(1, 1, "12345678901234")) // 20 bytes now
		if _, err := there.Add(ctx, parcel(1, 1, "x"), quota); !errors.Is(err, relay.ErrQuota) {
			t.Errorf("a fourth: %v", err)
		}
		if _, err := there.Add(ctx, parcel(2, 1, "123456789012345678"), quota); !errors.Is(err, relay.ErrQuota) {
			t.Errorf("beyond the bytes: %v", err)
		}
		for name, test := range map[string]struct {
			domain, box byte
			number      uint64
		}{"another mailbox's": {1, 2, one}, "another domain's": {2, 1, one}, "none": {1, 1, two + 100}, "an unknown domain's": {9, 1, one}, "nought": {1, 1, 0}} {
			if err := there.Delete(ctx, id(test.domain), wire.Hash{test.box}, test.number); !errors.Is(err, relay.ErrNotFound) {
				t.Errorf("delete %s: %v", name, err)
			}
		}
		if err := there.Delete(ctx, id(1), wire.Hash{1}, one); err != nil {
			t.Error(err)
		}
		if p := next(1, 1, 0); p.Number != two {
			t.Errorf("after the delete: %+v", p)
		}
		short := parcel(1, 3, "short")
		short.Expires = clock.System().Now().Add(time.Second)
		add(here, short)
		eventually(t, "it expires", func() bool { return next(1, 3, 0).Number == 0 })
		if _, err := here.Add(ctx, parcel(9, 1, "x"), quota); !errors.Is(err, relay.ErrNotFound) {
			t.Errorf("of a domain that isn't served: %v", err)
		}
	})
}

// TestDomainShare: a domain that has filled its share leaves the others theirs.
func TestDomainShare(t *testing.T) {
	b := open(t, natsbus.Options{Dir: t.TempDir(), DomainBytes: 64 << 10})
	quota := relay.Quota{Parcels: 1000, Bytes: 1 << 30}
	var err error
	for n := 0; err == nil; n++ {
		if n > 64 {
			t.Fatal("there is no end")
		}
		_, err = b.Add(t.Context(), parcel(1, byte(n), string(make([]byte, 4<<10))), quota)
	}
	if !errors.Is(err, relay.ErrQuota) {
		t.Errorf("when it is full: %v", err)
	}
	if _, err := b.Add(t.Context(), parcel(2, 1, "x"), quota); err != nil {
		t.Errorf("another domain: %v", err)
	}
}

func TestSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	quota := relay.Quota{Parcels: 10000, Bytes: 1 << 30}
	b := open(t, natsbus.Options{Dir: dir})
	const many = 5000
	var last uint64
	for n := range many {
		var err error
		p := parcel(1, byte(n), fmt.Sprint(n))
		p.Mailbox[1] = byte(n >> 8)
		if last, err = b.Add(t.Context(), p, quota); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Put(t.Context(), relay.Record{Key: "k", Value: []byte("v")}, time.Hour); err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = open(t, natsbus.Options{Dir: dir})
	count := 0
	for after := uint64(0); ; count++ {
		p, err := b.Next(t.Context(), id(1), wire.Hash{}, after)
		if errors.Is(err, relay.ErrNotFound) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		after = p.Number
	}
	if count != many {
		t.Errorf("%d parcels after a restart, want %d", count, many)
	}
	if n, err := b.Add(t.Context(), parcel(1, 1, "more"), quota); err != nil || n != last+1 {
		t.Errorf("number %d after %d: %v", n, last, err)
	}
	if r, err := b.Get(t.Context(), "k"); err != nil || string(r.Value) != "v" {
		t.Errorf("%+v %v", r, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, o := range map[string]natsbus.Options{
		"no domain":         {Dir: t.TempDir(), Domains: []wire.DomainID{}},
		"a domain twice":    {Dir: t.TempDir(), Domains: []wire.DomainID{id(1), id(1)}},
		"nobody at the URL": {URL: "nats://127.0.0.1:1", Domains: []wire.DomainID{id(1)}},
		"no credentials":    {URL: natstest.Servers(t, 1)[0], Credentials: "/no/such/file", Domains: []wire.DomainID{id(1)}},
		"too few replicas":  {URL: natstest.Servers(t, 1)[0], Replicas: 3, Domains: []wire.DomainID{id(1)}},
	} {
		if b, err := natsbus.Open(t.Context(), o); err == nil {
			b.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

// TestLostCluster: while NATS can't be reached, all is refused at once, and after
// that all goes on.
func TestLostCluster(t *testing.T) {
	store := t.TempDir()
	options := func(port int) *server.Options {
		return &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: store}
	}
	begin := func(port int) *server.Server {
		s, err := server.NewServer(options(port))
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		if !s.ReadyForConnections(generous) {
			t.Fatal("NATS doesn't start")
		}
		return s
	}
	s := begin(-1)
	port := s.Addr().(*net.TCPAddr).Port
	b := open(t, natsbus.Options{URL: s.ClientURL()})
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "it is noticed", func() bool { return b.Healthy() != nil })
	if err := b.Tell("a", []byte("x")); err == nil {
		t.Error("told into the dark")
	}
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	began := time.Now()
	if _, err := b.Ask(ctx, "a", []byte("x")); err == nil || errors.Is(err, relay.ErrNobody) || time.Since(began) > generous/2 {
		t.Errorf("asked into the dark: %v", err)
	}
	s = begin(port)
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	eventually(t, "it goes on", func() bool {
		_, err := b.Add(t.Context(), parcel(1, 1, "x"), relay.Quota{Parcels: 1, Bytes: 1000})
		return err == nil
	})
}
