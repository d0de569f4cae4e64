// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"claviger/internal/relay"
	"claviger/internal/wire"
)

// one is a relay with one server that stands at it.
func one(t testing.TB, s setup) (*site, *keyServer, string) {
	t.Helper()
	d := newDomain(t)
	s.domains = append(s.domains, d.id())
	x := start(t, s)
	server := x.server(d, d.first)
	return x, server, server.token()
}

func TestExchange(t *testing.T) {
	x, server, token := one(t, setup{})
	stream := server.box.receive()
	client := x.caller()
	answered := make(chan result, 1)
	question := sealed("question")
	go func() {
		answered <- client.ask("POST", boxPath(server.box.id(), "exchange"), question, "Claviger-Token", token)
	}()
	d := stream.delivery()
	if !bytes.Equal(d.Data, question) || d.Number != 0 {
		t.Errorf("delivered %+v", d)
	}
	stranger := x.caller()
	stranger.ask("POST", fmt.Sprintf("/v1/answer/%064x", 1), []byte("x")).is(t, "an answer that nobody waits for", 404, "not-found")
	wrong := bytes.Clone(d.Correlation)
	wrong[31] ^= 1
	stranger.ask("POST", fmt.Sprintf("/v1/answer/%x", wrong), []byte("x")).is(t, "an answer to nearly the right correlation", 404, "not-found")
	server.box.ask("POST", fmt.Sprintf("/v1/answer/%x", d.Correlation), []byte{}).is(t, "an answer without content", 400, "malformed")
	answer := sealed("answer")
	server.box.ask("POST", fmt.Sprintf("/v1/answer/%x", d.Correlation), answer).is(t, "answer", 204, "")
	got := <-answered
	if got.status != 200 || !bytes.Equal(got.body, answer) || got.header.Get("Content-Type") != "application/cbor" {
		t.Errorf("answered with %d %q", got.status, got.body)
	}
	server.box.ask("POST", fmt.Sprintf("/v1/answer/%x", d.Correlation), answer).is(t, "a second answer", 404, "not-found")
}

func TestSendTokens(t *testing.T) {
	x, server, token := one(t, setup{})
	server.echo()
	client := x.caller()
	path := boxPath(server.box.id(), "exchange")
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "the token", 200, "")
	for name, headers := range map[string][]string{
		"none": nil, "another": {"Claviger-Token", "AAAAAAAAAAAAAAAAAAAAAA"}, "two": {"Claviger-Token", token, "Claviger-Token", token},
		"padded": {"Claviger-Token", token + "=="}, "short": {"Claviger-Token", token[:20]}, "an empty one": {"Claviger-Token", ""},
	} {
		client.ask("POST", path, sealed("x"), headers...).is(t, name, 403, "token")
	}
	client.ask("POST", boxPath(client.id(), "exchange"), sealed("x"), "Claviger-Token", token).is(t, "another mailbox", 403, "token")
	second := server.token()
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "a token that was replaced", 403, "token")
	client.ask("POST", path, sealed("x"), "Claviger-Token", second).is(t, "the new one", 200, "")
	target := boxPath(server.box.id(), "tokens")
	many := make([]wire.Hash, wire.MaxSendTokens+1)
	server.box.owner("PUT", target, wire.Marshal(many)).is(t, "too many", 400, "malformed")
	server.box.owner("PUT", target, wire.Marshal(many[:0])).is(t, "no hashes", 400, "malformed")
	server.box.owner("PUT", target, []byte("x")).is(t, "garbage", 400, "malformed")
}

// TestTokensBeforeTheIntroduction: a server opens its mailbox before it says where
// it is, so that nobody finds it closed.
func TestTokensBeforeTheIntroduction(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	server := &keyServer{domain: d, person: d.first, box: x.caller()}
	token := server.token()
	client := x.caller()
	path := boxPath(server.box.id(), "exchange")
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "a mailbox of nobody", 403, "token")
	must(t, "introduction", server.introduce(server.box.now()))
	server.echo()
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "once it is introduced", 200, "")
}

func TestNobodyReceives(t *testing.T) {
	x, server, token := one(t, setup{})
	client := x.caller()
	path := boxPath(server.box.id(), "exchange")
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "never connected", 503, "offline")
	stream := server.echo()
	client.ask("POST", path, sealed("x"), "Claviger-Token", token).is(t, "connected", 200, "")
	stream.stop()
	server.box.http.CloseIdleConnections()
	eventually(t, "the stream is gone", func() bool {
		return client.ask("POST", path, sealed("x"), "Claviger-Token", token).code == "offline"
	})
}

func TestAnswerNeverComes(t *testing.T) {
	x, server, token := one(t, setup{front: func(f *relay.Front) { f.Hurry(5*time.Second, 200*time.Millisecond, time.Second) }})
	stream := server.box.receive()
	client := x.caller()
	got := client.ask("POST", boxPath(server.box.id(), "exchange"), sealed("x"), "Claviger-Token", token)
	got.is(t, "no answer", 504, "timeout")
	d := stream.delivery()
	server.box.ask("POST", fmt.Sprintf("/v1/answer/%x", d.Correlation), sealed("late")).is(t, "a late answer", 404, "not-found")
}

// TestNewestStreamWins: a server that comes back before its dead line was noticed
// gets what is sent from then on.
func TestNewestStreamWins(t *testing.T) {
	x, server, token := one(t, setup{})
	old := server.box.receive()
	server.echo()
	if _, err := old.next(); err == nil {
		t.Error("the old stream goes on")
	}
	client := x.caller()
	for range 20 {
		client.ask("POST", boxPath(server.box.id(), "exchange"), sealed("x"), "Claviger-Token", token).is(t, "after the change", 200, "")
	}
}

func TestRequestsUnderWay(t *testing.T) {
	x, server, token := one(t, setup{options: func(o *relay.Options) { o.Limits.UnderWay = 2 }})
	stream := server.box.receive()
	client := x.caller()
	path := boxPath(server.box.id(), "exchange")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 2 {
		go func() {
			if resp, err := client.send(ctx, "POST", path, sealed("x"), "Claviger-Token", token); err == nil {
				resp.Body.Close()
			}
		}()
	}
	stream.delivery()
	stream.delivery()
	got := client.ask("POST", path, sealed("x"), "Claviger-Token", token)
	got.is(t, "the third", 429, "busy")
	if got.header.Get("Retry-After") == "" {
		t.Error("busy without a time to wait")
	}
	cancel() // who gives up makes room
	eventually(t, "room", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		resp, err := client.send(ctx, "POST", path, sealed("x"), "Claviger-Token", token)
		if err != nil {
			return true // it waits for its answer
		}
		resp.Body.Close()
		return resp.StatusCode != 429
	})
}

func TestSealedMessagesOnly(t *testing.T) {
	x, server, token := one(t, setup{})
	server.echo()
	client := x.caller()
	path := boxPath(server.box.id(), "exchange")
	for name, test := range map[string]struct {
		body   []byte
		status int
		code   string
	}{
		"garbage":         {[]byte("garbage"), 400, "malformed"},
		"nothing":         {[]byte{}, 400, "malformed"},
		"a tail":          {append(sealed("x"), 0), 400, "malformed"},
		"another message": {wire.Marshal(wire.Delivery{Correlation: make([]byte, 32)}), 400, "malformed"},
		"the largest":     {sealed(string(make([]byte, wire.MaxSealedSize-len(sealed(""))-4))), 200, ""},
		"a larger one":    {sealed(string(make([]byte, wire.MaxSealedSize))), 413, "too-large"},
	} {
		client.ask("POST", path, test.body, "Claviger-Token", token).is(t, name, test.status, test.code)
	}
}
