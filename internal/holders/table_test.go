// SPDX-License-Identifier: Apache-2.0

package holders_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/holders"
	"claviger/internal/wire"
)

// kit is a table with a clock that the test moves, and what the log says.
type kit struct {
	*testing.T
	*holders.Table
	clock    *clock.Manual
	epoch    wire.Epoch
	orders   []holders.Order
	observed []time.Duration
	servers  int
}

func newKit(t *testing.T, o holders.Options) *kit {
	k := &kit{T: t, clock: clock.NewManual(time.UnixMilli(1_000_000_000)), epoch: wire.Epoch{Generation: 1, Position: 1}, servers: 1}
	o.Now = k.clock.Now
	o.Observe = func(d time.Duration) { k.observed = append(k.observed, d) }
	k.Table = holders.New(o)
	k.advance()
	return k
}

func (k *kit) now() int64 { return k.clock.Now().UnixMilli() }

func (k *kit) advance() {
	k.Advance(holders.State{Epoch: k.epoch, Orders: slices.Clone(k.orders), Alone: k.servers == 1})
}

// move takes the log on by a record that revokes some things.
func (k *kit) move(revoked ...holders.Order) wire.Epoch {
	k.epoch.Position++
	for _, o := range revoked {
		o.Epoch, o.At = k.epoch, k.now()
		if o.Lease == 0 {
			o.Lease = 3600
		}
		k.orders = append(k.orders, o)
	}
	k.advance()
	return k.epoch
}

// enable takes the log on by a record that takes a revocation back.
func (k *kit) enable(of string) {
	k.epoch.Position++
	k.orders = slices.DeleteFunc(k.orders, func(o holders.Order) bool { return o.Of == of })
	k.advance()
}

func (k *kit) report(e wire.Epoch) *holders.Report {
	k.Helper()
	r, ok := k.Report(e)
	if !ok {
		k.Fatalf("no report on %s", e)
	}
	return r
}

func rev(n int) wire.RevocationID { return wire.RevocationID{byte(n), byte(n >> 8), 1} }

func order(n int) holders.Order { return holders.Order{Of: fmt.Sprint("key:", n), ID: rev(n)} }

func holder(n int) holders.Holder {
	return holders.Holder{Client: fmt.Sprint("spiffe://d/workload/", n), Mailbox: wire.Sum("m", []byte{byte(n), byte(n >> 8), byte(n >> 16)})}
}

// lease is an hour of key n, with a bound of 15 minutes, issued now.
func (k *kit) lease(n int) holders.Lease {
	return holders.Lease{Key: wire.KeyID{byte(n), byte(n >> 8)}, Version: 1, Revocation: []wire.RevocationID{rev(n)}, Issued: k.now(), Lease: 3600, Staleness: 900}
}

func (k *kit) give(h holders.Holder, leases ...holders.Lease) { k.Record(h, k.epoch, leases) }

// TestAcknowledged follows a revocation that every holder acknowledges.
func TestAcknowledged(t *testing.T) {
	k := newKit(t, holders.Options{})
	for n := range 100 {
		k.give(holder(n), k.lease(1))
	}
	k.give(holder(500), k.lease(2))
	k.clock.Advance(10 * time.Second)
	e := k.move(order(1))
	if r := k.report(e); r.Holders != 100 || r.Dark != 0 || r.Done() || len(r.Lit) != 100 || r.Of[0] != "key:1" {
		t.Fatalf("at first: %+v", r)
	}
	start := k.now()
	for n := range 100 {
		k.clock.Advance(20 * time.Millisecond)
		if !k.Acked(holder(n).Mailbox, e, k.now()-5) {
			t.Fatal("a holder's mailbox is unknown")
		}
	}
	r := k.report(e)
	if r.Dark != 100 || r.Acknowledged != 100 || !r.Done() || len(r.Lit) != 0 {
		t.Fatalf("at the end: %+v", r)
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	if r.P50 != ms(50*20-5) || r.P99 != ms(99*20-5) || r.Last != ms(100*20-5) || r.Ends != start+100*20-5 {
		t.Errorf("p50 %s, p99 %s, last %s, at %d after %d", r.P50, r.P99, r.Last, r.Ends, start)
	}
	if len(k.observed) != 100 || k.observed[99] != r.Last {
		t.Errorf("observed %d, the last %s", len(k.observed), k.observed[len(k.observed)-1])
	}
	if k.Holders() != 1 {
		t.Errorf("%d holders are left", k.Holders())
	}
}

func TestTold(t *testing.T) {
	k := newKit(t, holders.Options{})
	e := k.move(order(1))
	k.clock.Advance(3 * time.Millisecond)
	k.Stated(before(e), k.now())
	k.Answered(e, k.now())
	if r := k.report(e); r.Told != 0 {
		t.Error("told by a statement from before, or by an answer")
	}
	if !k.Untold() {
		t.Error("told by nobody, and counts as told")
	}
	k.Stated(e, k.now())
	k.Stated(e, k.now()+1)
	if k.Untold() {
		t.Error("told, and counts as untold")
	}
	if r := k.report(e); r.Told != r.At+3 {
		t.Errorf("told at %d", r.Told-r.At)
	}
	later := k.move(order(2))
	k.Stated(later, 1) // by a clock that was set back
	if r := k.report(later); r.Told != r.At {
		t.Errorf("told at %d, before it was revoked", r.Told-r.At)
	}
}

// TestByItself goes through what ends a lease that nobody acknowledges.
func TestByItself(t *testing.T) {
	const second = 1000
	for _, c := range []struct {
		name  string
		setup func(*kit) // from 0 s; the revocation comes at 600 s
		late  func(*kit) // after it
		want  int64      // seconds from 0
	}{
		{name: "the newest word is its own grant", setup: func(k *kit) { k.give(holder(1), k.lease(1)) }, want: 900},
		{name: "a statement came later", want: 400 + 900, setup: func(k *kit) {
			k.give(holder(1), k.lease(1))
			k.clock.Advance(400 * time.Second)
			k.Stated(k.epoch, k.now())
		}},
		{name: "a certificate came later", want: 400 + 900, setup: func(k *kit) {
			k.give(holder(1), k.lease(1))
			k.clock.Advance(400 * time.Second)
			k.Answered(k.epoch, k.now())
		}},
		{name: "it asked for another key later", want: 300 + 900, setup: func(k *kit) {
			k.give(holder(1), k.lease(1))
			k.clock.Advance(300 * time.Second)
			k.give(holder(1), k.lease(7))
		}},
		{name: "another client's grant is no word of its own", want: 900, setup: func(k *kit) {
			k.give(holder(1), k.lease(1))
			k.clock.Advance(300 * time.Second)
			k.give(holder(2), k.lease(7))
		}},
		{name: "the lease ends first", want: 700, setup: func(k *kit) {
			l := k.lease(1)
			l.Lease = 700
			k.give(holder(1), l)
		}},
		{name: "two leases of one version", want: 100 + 700, setup: func(k *kit) {
			l := k.lease(1)
			l.Lease = 700
			k.give(holder(1), l)
			k.clock.Advance(100 * time.Second)
			l.Issued = k.now()
			k.give(holder(1), l)
		}},
		{name: "a bound that isn't known", want: 3600, setup: func(k *kit) {
			l := k.lease(1)
			l.Staleness = 0
			k.give(holder(1), l)
		}},
		{name: "a bound that wasn't known once", want: 3600, setup: func(k *kit) {
			l := k.lease(1)
			l.Staleness = 0
			k.give(holder(1), l, k.lease(1))
		}},
		{name: "other servers vouch too", want: 3600, setup: func(k *kit) {
			k.servers = 2
			k.give(holder(1), k.lease(1))
		}},
		{name: "a statement of before leaves late", want: 599 + 900, setup: func(k *kit) { k.give(holder(1), k.lease(1)) }, late: func(k *kit) {
			k.Stated(before(k.epoch), k.now()-1*second)
		}},
		{name: "a statement of after says it", want: 900, setup: func(k *kit) { k.give(holder(1), k.lease(1)) }, late: func(k *kit) {
			k.Stated(k.epoch, k.now())
		}},
		{name: "a grant of after says nothing of it", want: 900, setup: func(k *kit) { k.give(holder(1), k.lease(1)) }, late: func(k *kit) {
			k.give(holder(1), k.lease(7))
		}},
		{name: "a grant of before leaves late", want: 600 + 900, setup: func(*kit) {}, late: func(k *kit) {
			k.Record(holder(1), before(k.epoch), []holders.Lease{k.lease(1)})
		}},
		{name: "a grant of before, of another key, leaves late", want: 600 + 900, setup: func(k *kit) { k.give(holder(1), k.lease(1)) }, late: func(k *kit) {
			k.Record(holder(1), before(k.epoch), []holders.Lease{k.lease(7)})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, holders.Options{})
			zero := k.now()
			c.setup(k)
			k.clock.Advance(time.Duration(600*second-(k.now()-zero)) * time.Millisecond)
			e := k.move(order(1))
			if c.late != nil {
				c.late(k)
			}
			r := k.report(e)
			if r.Holders != 1 || r.Dark != 0 || len(r.Lit) != 1 || r.Lit[0].Ends != zero+c.want*second || r.Ends != r.Lit[0].Ends {
				t.Fatalf("ends at %d: %+v", r.Ends-zero, r)
			}
			k.clock.Advance(time.Duration(c.want-600)*time.Second - time.Millisecond)
			if r := k.report(e); r.Dark != 0 || r.Done() || len(k.observed) != 0 {
				t.Errorf("dark before it is: %+v", r)
			}
			k.clock.Advance(time.Millisecond)
			k.Sweep()
			if r := k.report(e); r.Dark != 1 || r.Acknowledged != 0 || !r.Done() || r.Last != time.Duration(c.want-600)*time.Second {
				t.Errorf("not dark when it is: %+v", r)
			}
			if len(k.observed) != 1 || k.observed[0] != time.Duration(c.want-600)*time.Second {
				t.Errorf("observed %v", k.observed)
			}
		})
	}
}

func before(e wire.Epoch) wire.Epoch {
	return wire.Epoch{Generation: e.Generation, Position: e.Position - 1}
}

// TestWhoIsMeant has one holder and revokes this and that.
func TestWhoIsMeant(t *testing.T) {
	for _, c := range []struct {
		name string
		id   wire.RevocationID
		want int
	}{
		{"key", rev(1), 1}, {"version", rev(2), 1}, {"client", rev(3), 1}, {"everything", wire.RevokeEverything, 1}, {"another", rev(4), 0},
	} {
		k := newKit(t, holders.Options{})
		l := k.lease(1)
		l.Revocation = []wire.RevocationID{rev(1), rev(2), rev(3)}
		k.give(holder(1), l)
		e := k.move(holders.Order{Of: c.name, ID: c.id})
		r, ok := k.ReportOf(c.name)
		if !ok || r.Holders != c.want || r.Epoch != e || r.Done() != (c.want == 0) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	k := newKit(t, holders.Options{})
	if _, ok := k.Report(k.epoch); ok {
		t.Error("a report on an epoch that revoked nothing")
	}
	if _, ok := k.ReportOf("key:1"); ok {
		t.Error("a report on what was never revoked")
	}
}

// TestSeveralOrdersOfOneRecord: destroying a key revokes all its versions.
func TestSeveralOrdersOfOneRecord(t *testing.T) {
	k := newKit(t, holders.Options{})
	one, two := k.lease(1), k.lease(1)
	two.Version, two.Revocation = 2, []wire.RevocationID{rev(2)}
	k.give(holder(1), one, two)
	k.give(holder(2), two)
	e := k.move(order(1), order(2))
	if r := k.report(e); r.Holders != 2 || len(r.Of) != 2 {
		t.Errorf("%+v", r)
	}
	k.enable("key:1")
	if r := k.report(e); r.TakenBack != 0 {
		t.Error("taken back while one of them stands")
	}
	k.move(order(2))
	k.orders = k.orders[1:] // the later order replaces the earlier
	k.enable("key:9")
	if r := k.report(e); r.TakenBack != 0 {
		t.Error("ordered anew, and so taken back")
	}
	k.enable("key:2")
	if r := k.report(e); r.TakenBack == 0 {
		t.Error("stands although nothing of it does")
	}
}

// TestAckForgeries goes through words that aren't to be believed.
func TestAckForgeries(t *testing.T) {
	k := newKit(t, holders.Options{})
	k.give(holder(1), k.lease(1))
	k.give(holders.Holder{Client: "spiffe://d/workload/old"}, k.lease(1))
	earlier := k.epoch
	k.clock.Advance(time.Minute)
	e := k.move(order(1))
	start := k.now()
	k.clock.Advance(time.Minute)
	future := e
	future.Position++
	for name, known := range map[string]bool{
		"another mailbox":    k.Acked(holder(2).Mailbox, e, k.now()),
		"no mailbox":         k.Acked(wire.Hash{}, e, k.now()),
		"an epoch to come":   k.Acked(holder(1).Mailbox, future, k.now()),
		"another generation": k.Acked(holder(1).Mailbox, wire.Epoch{Generation: 2, Position: 1}, k.now()),
	} {
		if known {
			t.Errorf("%s was taken", name)
		}
	}
	k.Acked(holder(1).Mailbox, earlier, k.now())
	if r := k.report(e); r.Dark != 0 || r.Holders != 2 {
		t.Fatalf("%+v", r)
	}
	k.Acked(holder(1).Mailbox, e, k.now()+1_000_000)
	if r := k.report(e); r.Last != time.Minute {
		t.Errorf("a time to come counts: %s", r.Last)
	}
	k.clock.Advance(time.Second)
	k.Acked(holder(1).Mailbox, e, start) // again, with another time
	if r := k.report(e); r.Last != time.Minute || r.Dark != 1 || r.Acknowledged != 1 || r.Done() {
		t.Errorf("a second word counts: %+v", r)
	}
	other := k.move(order(1))
	if r := k.report(other); r.Holders != 1 || r.Lit[0].Client != "spiffe://d/workload/old" {
		t.Errorf("who dropped its lease holds it again: %+v", r)
	}

	k = newKit(t, holders.Options{})
	k.give(holder(1), k.lease(1))
	e = k.move(order(1))
	k.clock.Advance(time.Second)
	k.Acked(holder(1).Mailbox, e, 1)
	if r := k.report(e); r.Last != 0 || r.Dark != 1 {
		t.Errorf("a time before the revocation counts: %+v", r)
	}
}

// TestAckIsForItsMailbox: two runs of a client are two holders, and a mailbox that
// two clients claim is both's.
func TestAckIsForItsMailbox(t *testing.T) {
	k := newKit(t, holders.Options{})
	same := holder(1)
	same.Mailbox = holder(2).Mailbox
	k.give(holder(1), k.lease(1))
	k.give(same, k.lease(1))
	k.give(holder(2), k.lease(1))
	e := k.move(order(1))
	k.Acked(holder(2).Mailbox, e, k.now())
	if r := k.report(e); r.Dark != 2 || len(r.Lit) != 1 || r.Lit[0].Holder != holder(1) {
		t.Errorf("%+v", r)
	}
}

// TestGone: who has ended holds nothing, revoked or not; what it is granted later
// counts all the same.
func TestGone(t *testing.T) {
	k := newKit(t, holders.Options{})
	for n := range 3 {
		k.give(holder(n), k.lease(1), k.lease(2))
	}
	first := k.move(order(1))
	start := k.now()
	k.clock.Advance(time.Second)
	if k.Gone(holder(7).Mailbox, k.now()) || k.Gone(wire.Hash{}, k.now()) {
		t.Error("a mailbox that holds nothing is known")
	}
	if !k.Gone(holder(1).Mailbox, start+1e9) || !k.Gone(holder(2).Mailbox, start-1e9) || k.Holders() != 1 {
		t.Errorf("%d holders are left", k.Holders())
	}
	if r := k.report(first); r.Dark != 2 || r.Acknowledged != 2 || r.Last != time.Second || r.P50 != 0 || len(r.Lit) != 1 || r.Lit[0].Holder != holder(0) {
		t.Errorf("%+v", r)
	}
	if r := k.report(k.move(order(2))); r.Holders != 1 || r.Lit[0].Holder != holder(0) {
		t.Errorf("who has ended is waited for: %+v", r)
	}
	k.Record(holder(1), first, []holders.Lease{k.lease(3)})
	if r := k.report(k.move(order(3))); r.Holders != 1 || r.Dark != 0 {
		t.Errorf("a grant that came later is not counted: %+v", r)
	}
}

// TestLateGrantToWhoHasHeard: a grant of before that comes after the word can't be
// used by who has heard.
func TestLateGrantToWhoHasHeard(t *testing.T) {
	k := newKit(t, holders.Options{})
	k.give(holder(1), k.lease(1))
	e := k.move(order(1))
	k.Acked(holder(1).Mailbox, e, k.now())
	k.Record(holder(1), before(e), []holders.Lease{k.lease(1)})
	// Another one has heard too, and held nothing of it.
	k.give(holder(2), k.lease(7))
	k.Acked(holder(2).Mailbox, e, k.now())
	k.Record(holder(2), before(e), []holders.Lease{k.lease(1)})
	if r := k.report(e); r.Holders != 1 || r.Dark != 1 || !r.Done() {
		t.Errorf("%+v", r)
	}
}

func TestTakenBack(t *testing.T) {
	k := newKit(t, holders.Options{})
	for n := range 3 {
		k.give(holder(n), k.lease(1))
	}
	e := k.move(order(1))
	k.Acked(holder(0).Mailbox, e, k.now())
	k.clock.Advance(time.Minute)
	k.enable("key:1")
	at := k.now()
	k.give(holder(7), k.lease(1))
	k.clock.Advance(time.Second)
	k.Acked(holder(1).Mailbox, k.epoch, k.now())
	k.clock.Advance(2 * time.Hour)
	k.Sweep()
	r := k.report(e)
	if r.TakenBack != at || r.Holders != 3 || r.Dark != 1 || len(r.Lit) != 2 || len(k.observed) != 1 {
		t.Errorf("%+v, observed %v", r, k.observed)
	}
	k.clock.Advance(25 * time.Hour)
	k.move()
	if _, ok := k.Report(e); ok {
		t.Error("reported for ever")
	}
}

func TestEarlierRuns(t *testing.T) {
	k := newKit(t, holders.Options{Since: 1_000_000_000})
	k.clock.Advance(10 * time.Minute)
	e := k.move(order(1))
	r := k.report(e)
	if r.Done() || r.UnknownBefore != 1_000_000_000 || r.UnknownUntil != 1_000_000_000+3_600_000 || r.Holders != 0 {
		t.Errorf("%+v", r)
	}
	k.clock.Advance(49*time.Minute + 59*time.Second)
	if k.report(e).Done() {
		t.Error("done while a lease of before may run")
	}
	k.clock.Advance(time.Second)
	if r := k.report(e); !r.Done() || r.Now == r.Latest {
		t.Errorf("not done: %+v", r)
	}
	later := k.move(order(2))
	if r := k.report(later); r.UnknownUntil != 0 || !r.Done() {
		t.Errorf("what ended before counts: %+v", r)
	}

	// A revocation that stood before the start is known from the log.
	k = newKit(t, holders.Options{Since: 1_000_000_000})
	again := holders.New(holders.Options{Now: k.clock.Now, Since: 1_000_000_000})
	o := order(1)
	o.At, o.Epoch, o.Lease = 1_000_000_000-60_000, k.epoch, 3600
	again.Advance(holders.State{Epoch: k.epoch, Orders: []holders.Order{o}, Alone: true})
	if r, ok := again.Report(k.epoch); !ok || r.Done() || r.UnknownUntil != r.Latest {
		t.Errorf("%+v", r)
	}
}

func TestBounds(t *testing.T) {
	const limit = 100_000
	k := newKit(t, holders.Options{Limit: limit})
	// One client with any number of mailboxes gets a quarter.
	for n := range 1000 {
		h := holder(n)
		h.Client = "spiffe://d/workload/greedy"
		l := k.lease(1)
		l.Lease = 1200
		k.give(h, l)
	}
	greedy := k.Holders()
	if greedy == 0 || greedy > limit/4/900 {
		t.Errorf("one client takes %d places", greedy)
	}
	short := k.lease(1)
	short.Lease = 600
	for n := range 20 {
		k.give(holder(n), short)
	}
	if k.Holders() != greedy+20 {
		t.Errorf("others don't fit: %d", k.Holders())
	}
	for n := range 1000 {
		k.give(holder(1000+n), k.lease(1))
	}
	e := k.move(order(1))
	r := k.report(e)
	if r.Forgotten != k.now()+3_600_000 || r.Done() || r.Holders > limit/900 {
		t.Errorf("%+v", r)
	}
	for _, l := range r.Lit {
		if l.Ends != k.now()+900_000 {
			t.Errorf("what ends first was kept: %+v", l)
		}
	}
	for n := range 2000 {
		k.Acked(holder(n).Mailbox, e, k.now())
	}
	k.clock.Advance(59 * time.Minute)
	if r := k.report(e); r.Done() {
		t.Error("done although some were forgotten")
	}
	k.clock.Advance(time.Minute)
	if r := k.report(e); !r.Done() || k.Holders() != 0 {
		t.Errorf("not done at the end: %+v", r)
	}
}

// TestManyRevocations: revocations are bounded, whatever they are about.
func TestManyRevocations(t *testing.T) {
	k := newKit(t, holders.Options{})
	first := k.move(order(0))
	var last wire.Epoch
	for n := range 1100 {
		last = k.move(order(n + 1))
	}
	if _, ok := k.Report(first); ok {
		t.Error("more than a thousand are kept")
	}
	if _, ok := k.Report(last); !ok {
		t.Error("the newest is not known")
	}
}

func TestAdvanceGoesForward(t *testing.T) {
	k := newKit(t, holders.Options{})
	k.give(holder(1), k.lease(1))
	e := k.move(order(1))
	if k.Behind(e) || !k.Behind(wire.Epoch{Generation: 1, Position: 99}) || k.Behind(before(e)) {
		t.Error("doesn't know where it is")
	}
	k.Advance(holders.State{Epoch: before(e), Alone: true})
	if r := k.report(e); r.TakenBack != 0 {
		t.Error("an older state took a revocation back")
	}
}
