// SPDX-License-Identifier: Apache-2.0

// Package bustest is what every implementation of a relay's Bus, Table and Parcels
// has to hold: [Run] tests one. It is for tests only.
package bustest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/wire"
)

// Behind is what stands behind a relay's front.
type Behind interface {
	relay.Bus
	relay.Table
	relay.Parcels
}

// Domains are those that open has to serve.
func Domains() []wire.DomainID { return []wire.DomainID{id(1), id(2)} }

func id(n byte) wire.DomainID { return wire.DomainID{n} }

// generous is how long a test waits for what should happen at once.
const generous = time.Minute

// Run tests two processes of a relay, which may be the same one. open makes new
// ones that hold nothing.
func Run(t *testing.T, open func(t *testing.T) (here, there Behind)) {
	for name, test := range map[string]func(t *testing.T, here, there Behind){"bus": bus, "table": table, "parcels": parcels} {
		t.Run(name, func(t *testing.T) {
			here, there := open(t)
			test(t, here, there)
		})
	}
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

func bus(t *testing.T, here, there Behind) {
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	began := clock.System().Now()
	if _, err := here.Ask(ctx, "box.nobody", []byte("x")); !errors.Is(err, relay.ErrNobody) || clock.System().Now().Sub(began) > generous/2 {
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
}

func table(t *testing.T, here, there Behind) {
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
}

func parcel(domain byte, box byte, data string) relay.Parcel {
	return relay.Parcel{Domain: id(domain), Mailbox: wire.Hash{box}, Expires: clock.System().Now().Add(time.Hour), Data: []byte(data)}
}

func parcels(t *testing.T, here, there Behind) {
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	quota := relay.Quota{Parcels: 3, Bytes: 20}
	add := func(b Behind, p relay.Parcel) uint64 {
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
	if two <= one || other == one || other == two {
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
}
