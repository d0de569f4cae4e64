// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/wire"
)

// TestTwoProcesses: two relay processes on one NATS cluster are one relay, whoever
// is at which.
func TestTwoProcesses(t *testing.T) {
	urls := natstest.Servers(t, 1)
	d := newDomain(t)
	second := newPerson("s2")
	d.change(members.KindJoin, second.joined(), second)
	const balanced, elsewhere = "https://relay.example:8444", "https://second.example:8444"
	both := setup{domains: []wire.DomainID{d.id()}, nats: urls[0], options: func(o *relay.Options) { o.Origins = []string{balanced, elsewhere} }}
	here, there := start(t, both), start(t, both)
	here.at, there.at = balanced, balanced
	server := here.server(d, d.first)
	token := server.token()
	client := there.caller()
	path := boxPath(server.box.id(), "exchange")
	eventually(t, "the board is the same", func() bool { return len(client.list(d.board("introductions"))) == 1 })
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "nobody receives", 503, "offline")

	echo := server.echo()
	question := sealed("question")
	eventually(t, "an exchange over both", func() bool {
		got := client.ask("POST", path, question, "Claviger-Token", token)
		return got.status == 200 && bytes.Equal(got.body, question)
	})
	stream := client.stream(d.board("follow"))
	statement := server.statement(server.box.now())
	must(t, "statement", server.box.owner("PUT", d.board("statement"), statement))
	if got, err := stream.next(); err != nil || !bytes.Equal(got, statement) {
		t.Errorf("followed %x: %v", got, err)
	}

	box := there.caller()
	parcels := box.receive()
	must(t, "parcel", server.parcel(box.id(), server.box.now().Add(time.Hour), sealed("parcel")))
	if got := parcels.delivery(); !bytes.Equal(got.Data, sealed("parcel")) {
		t.Errorf("delivered %x", got.Data)
	}

	// Back at the other process, before anybody noticed that the old line is dead.
	server.box.site = there
	moved := server.echo()
	if _, err := echo.next(); err == nil {
		t.Error("the stream at the first process goes on")
	}
	// At another address of the same relay it may read too, and nobody who asks
	// finds nobody there while one of the streams ends.
	server.box.at, server.box.site = elsewhere, here
	besides := server.echo()
	server.box.at, server.box.site = balanced, there
	near := here.caller()
	eventually(t, "an exchange the other way", func() bool {
		return near.ask("POST", path, question, "Claviger-Token", token).status == 200
	})
	if n, m := len(dump(t, here).Receivers), len(dump(t, there).Receivers); n != 1 || m != 2 {
		t.Errorf("%d and %d mailboxes are read, with that of the parcel", n, m)
	}
	moved.stop()
	for range 20 {
		if got := near.ask("POST", path, question, "Claviger-Token", token); got.status != 200 {
			t.Fatalf("with one stream left: %d %s", got.status, got.body)
		}
	}
	besides.stop()
	eventually(t, "nobody receives any more", func() bool {
		return near.ask("POST", path, question, "Claviger-Token", token).code == "offline"
	})

	other := &keyServer{domain: d, person: second, box: there.caller()}
	must(t, "a server at the other process", other.introduce(other.box.now()))
	eventually(t, "it is seen here", func() bool { return len(here.caller().list(d.board("introductions"))) == 2 })
}

// absent is a bus on which processes that wait for answers are away for the first
// questions.
type absent struct {
	relay.Bus
	left atomic.Int64
}

func (a *absent) Ask(ctx context.Context, address string, data []byte) ([]byte, error) {
	if strings.HasPrefix(address, "answer.") && a.left.Add(-1) >= 0 {
		return nil, relay.ErrNobody
	}
	return a.Bus.Ask(ctx, address, data)
}

// TestAwayForAMoment: an answer reaches a process that has just lost its NATS
// server and finds another; one for nobody at all is refused in the end.
func TestAwayForAMoment(t *testing.T) {
	urls := natstest.Servers(t, 1)
	d := newDomain(t)
	away := &absent{}
	away.left.Store(3)
	here := start(t, setup{domains: []wire.DomainID{d.id()}, nats: urls[0]})
	there := start(t, setup{domains: []wire.DomainID{d.id()}, nats: urls[0], bus: func(b relay.Bus) relay.Bus { away.Bus = b; return away }})
	server := there.server(d, d.first)
	token := server.token()
	server.echo()
	client := here.caller()
	eventually(t, "an exchange over both", func() bool {
		got := client.ask("POST", boxPath(server.box.id(), "exchange"), sealed("question"), "Claviger-Token", token)
		if got.status == 504 {
			t.Fatal("the answer didn't come")
		}
		return got.status == 200
	})
	if left := away.left.Load(); left >= 0 {
		t.Errorf("nobody was away: %d", left)
	}
	client.ask("POST", "/v1/answer/"+strings.Repeat("0", 64), sealed("x")).is(t, "an answer for nobody", 404, "not-found")
}
