// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"claviger/internal/relay"
	"claviger/internal/wire"
)

func (s *keyServer) parcel(to wire.Hash, expires time.Time, data []byte) result {
	target := fmt.Sprintf("%s/%s?expires=%d", s.board("parcels"), to, expires.UnixMilli())
	return s.box.owner("PUT", target, data)
}

func TestParcels(t *testing.T) {
	x, server, _ := one(t, setup{})
	client := x.caller()
	soon := server.box.now().Add(time.Hour)
	must(t, "put", server.parcel(client.id(), soon, sealed("one")))
	must(t, "put the same again", server.parcel(client.id(), soon, sealed("one")))
	must(t, "put", server.parcel(client.id(), soon, sealed("two")))
	stream := client.receive()
	one, two := stream.delivery(), stream.delivery()
	if !bytes.Equal(one.Data, sealed("one")) || !bytes.Equal(two.Data, sealed("two")) || len(one.Correlation) > 0 || one.Number == 0 || two.Number <= one.Number {
		t.Fatalf("delivered %d and %d", one.Number, two.Number)
	}
	must(t, "put while the stream is open", server.parcel(client.id(), soon, sealed("three")))
	three := stream.delivery()
	if !bytes.Equal(three.Data, sealed("three")) {
		t.Error("another parcel came")
	}
	number := func(d *wire.Delivery) string { return boxPath(client.id(), fmt.Sprintf("parcels/%d", d.Number)) }
	stranger := x.caller()
	stranger.owner("DELETE", boxPath(stranger.id(), fmt.Sprintf("parcels/%d", one.Number)), nil).is(t, "a stranger's delete of that number", 204, "")
	must(t, "delete", client.owner("DELETE", number(two), nil))
	must(t, "delete again", client.owner("DELETE", number(two), nil))
	stream.stop()
	again := client.receive()
	if a, b := again.delivery(), again.delivery(); a.Number != one.Number || b.Number != three.Number {
		t.Errorf("after a delete there are %d and %d, want %d and %d", a.Number, b.Number, one.Number, three.Number)
	}
}

func TestParcelsRefused(t *testing.T) {
	x, server, _ := one(t, setup{})
	client := x.caller()
	now := server.box.now()
	good := now.Add(time.Hour)
	server.parcel(client.id(), now.Add(-time.Second), sealed("x")).is(t, "expired", 400, "malformed")
	server.parcel(client.id(), now.Add(50*time.Hour), sealed("x")).is(t, "for longer than 48 h", 400, "malformed")
	server.parcel(client.id(), good, []byte("garbage")).is(t, "garbage", 400, "malformed")
	server.parcel(client.id(), good, sealed(string(make([]byte, wire.MaxParcel)))).is(t, "too large", 413, "too-large")
	for _, query := range []string{"", "?expires=", "?expires=x", "?expires=-1", "?expires=1&expires=2", "?x=1", "?expires=99999999999999999", "?expires=%zz"} {
		server.box.owner("PUT", server.board("parcels")+"/"+client.id().String()+query, sealed("x")).is(t, query, 400, "malformed")
	}
	stranger := &keyServer{domain: server.domain, person: newPerson("s1"), box: x.caller()}
	stranger.parcel(client.id(), good, sealed("x")).is(t, "from who is on no board", 403, "denied")
	must(t, "the largest", server.parcel(client.id(), good, sealed(string(make([]byte, wire.MaxParcel-len(sealed(""))-4)))))
}

func TestParcelQuota(t *testing.T) {
	x, server, _ := one(t, setup{options: func(o *relay.Options) { o.Limits.Parcels, o.Limits.ParcelBytes = 3, 9000 }})
	client, other := x.caller(), x.caller()
	soon := server.box.now().Add(time.Hour)
	for i := range 3 {
		must(t, "put", server.parcel(client.id(), soon, sealed(fmt.Sprint(i))))
	}
	server.parcel(client.id(), soon, sealed("one too many")).is(t, "the fourth parcel", 429, "full")
	big := sealed(string(make([]byte, 4000)))
	must(t, "another mailbox", server.parcel(other.id(), soon, big))
	server.parcel(other.id(), soon, sealed(string(make([]byte, 4001)))).is(t, "beyond its bytes", 429, "full")
	d := client.receive().delivery()
	must(t, "delete", client.owner("DELETE", boxPath(client.id(), fmt.Sprintf("parcels/%d", d.Number)), nil))
	must(t, "there is room again", server.parcel(client.id(), soon, sealed("four")))
}

// TestDomainsKeepApart: one domain's servers fill neither another's share nor its
// mailboxes, and their numbers mean nothing there.
func TestDomainsKeepApart(t *testing.T) {
	a, b := newDomain(t), newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{a.id(), b.id()}, options: func(o *relay.Options) { o.Limits.Parcels = 2 }})
	mine, theirs := x.server(a, a.first), x.server(b, b.first)
	client := x.caller()
	soon := mine.box.now().Add(time.Hour)
	for i := range 2 {
		must(t, "theirs", theirs.parcel(client.id(), soon, sealed(fmt.Sprint("theirs", i))))
	}
	for i := range 2 {
		must(t, "mine", mine.parcel(client.id(), soon, sealed(fmt.Sprint("mine", i))))
	}
	theirs.box.owner("PUT", fmt.Sprintf("%s/%s?expires=%d", a.board("parcels"), client.id(), soon.UnixMilli()), sealed("x")).is(t, "a parcel on another's board", 403, "denied")
	stream := client.receive()
	seen := map[uint64]bool{}
	for range 4 {
		d := stream.delivery()
		if seen[d.Number] {
			t.Errorf("number %d twice", d.Number)
		}
		seen[d.Number] = true
	}
	theirs.box.owner("PUT", a.board("introduction"), theirs.introduction(theirs.box.now())).is(t, "an introduction on another's board", 403, "denied")
	if got := client.list(a.board("introductions")); len(got) != 1 {
		t.Errorf("%d introductions", len(got))
	}
}

// TestRestart: what was answered with success is there after a restart.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	d := newDomain(t)
	set := setup{domains: []wire.DomainID{d.id()}, dir: dir}
	x := start(t, set)
	server := x.server(d, d.first)
	token := server.token()
	statement := server.statement(server.box.now())
	must(t, "statement", server.box.owner("PUT", d.board("statement"), statement))
	client := x.caller()
	must(t, "parcel", server.parcel(client.id(), server.box.now().Add(time.Hour), sealed("kept")))
	must(t, "parcel", server.parcel(client.id(), server.box.now().Add(1500*time.Millisecond), sealed("gone")))
	x.stop()

	y := start(t, set)
	client.site, server.box.site = y, y
	if got := client.list(d.board("introductions")); len(got) != 1 {
		t.Errorf("%d introductions", len(got))
	}
	if got := client.list(d.board("statements")); len(got) != 1 || !bytes.Equal(got[0], statement) {
		t.Errorf("%d statements", len(got))
	}
	server.echo()
	client.ask("POST", boxPath(server.box.id(), "exchange"), sealed("x"), "Claviger-Token", token).is(t, "the token", 200, "")
	eventually(t, "the second parcel expires", func() bool {
		got, err := y.front.Dump(t.Context(), false)
		return err == nil && len(got.Domains[0].Parcels) == 1
	})
	if got := client.receive().delivery(); !bytes.Equal(got.Data, sealed("kept")) {
		t.Errorf("delivered %x", got.Data)
	}
	must(t, "a newer statement", server.box.owner("PUT", d.board("statement"), server.statement(server.box.now().Add(time.Second))))
}
