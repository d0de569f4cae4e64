// SPDX-License-Identifier: Apache-2.0

package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/relay/bustest"
	"claviger/internal/relay/natsbus"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/wire"
)

const generous = time.Minute

func id(n byte) wire.DomainID { return wire.DomainID{n} }

func open(t testing.TB, o natsbus.Options) *natsbus.Bus {
	t.Helper()
	if o.Domains == nil {
		o.Domains = bustest.Domains()
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

// TestBehind: embedded, here and there are one process.
func TestBehind(t *testing.T) {
	healthy := func(t *testing.T, all ...*natsbus.Bus) {
		for _, b := range all {
			if err := b.Healthy(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("embedded", func(t *testing.T) {
		bustest.Run(t, func(t *testing.T) (here, there bustest.Behind) {
			b := open(t, natsbus.Options{Dir: t.TempDir()})
			healthy(t, b)
			return b, b
		})
	})
	for name, count := range map[string]int{"one server": 1, "a cluster of three": 3} {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, func(t *testing.T) (bustest.Behind, bustest.Behind) {
				urls := natstest.Servers(t, count)
				here := open(t, natsbus.Options{URL: urls[0], Replicas: count})
				there := open(t, natsbus.Options{URL: urls[(count-1)%2], Replicas: count})
				healthy(t, here, there)
				return here, there
			})
		})
	}
}

// TestNumbersOfDomainsAreApart: however many parcels there are, a number of one
// domain is none of another.
func TestNumbersOfDomainsAreApart(t *testing.T) {
	b := open(t, natsbus.Options{Dir: t.TempDir()})
	quota := relay.Quota{Parcels: 3, Bytes: 20}
	one, err := b.Add(t.Context(), parcel(1, 1, "x"), quota)
	two, failed := b.Add(t.Context(), parcel(2, 1, "x"), quota)
	if err := errors.Join(err, failed); err != nil || one>>40 == two>>40 {
		t.Errorf("numbers %d and %d: %v", one, two, err)
	}
}

func parcel(domain byte, box byte, data string) relay.Parcel {
	return relay.Parcel{Domain: id(domain), Mailbox: wire.Hash{box}, Expires: clock.System().Now().Add(time.Hour), Data: []byte(data)}
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
