// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/client/internal/keep"
	"claviger/client/internal/ways"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// board is a relay with several servers: not a direct way.
type board struct {
	mu    sync.Mutex // goodbyes to several servers come at once
	faked faked
	key   []byte // the send token that opens; nil: any
	seen  [][]byte
	lose  int // so many answers
	spoil bool
	asked [][]byte
}

func (b *board) Introductions(ctx context.Context) ([][]byte, error) {
	return b.faked.Introductions(ctx)
}
func (b *board) Statements(ctx context.Context) ([][]byte, error) { return b.faked.Statements(ctx) }

func (b *board) Exchange(ctx context.Context, to transport.Peer, sealed []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.asked = append(b.seen, to.Token), append(b.asked, sealed)
	if b.key != nil && !bytes.Equal(to.Token, b.key) {
		return nil, &transport.Error{Address: "board", Status: 403, Code: "token", Message: "no"}
	}
	answer, err := b.faked.Exchange(ctx, to, sealed)
	if b.spoil && err == nil {
		answer[len(answer)-1]++
	}
	if b.lose > 0 {
		b.lose--
		return nil, &transport.Error{Address: "board", Status: 504, Code: "timeout", Message: "no answer"}
	}
	return answer, err
}

func token(b byte) []byte { return bytes.Repeat([]byte{b}, wire.SendTokenSize) }

// TestBoard: of several servers at one relay, each is judged by itself.
func TestBoard(t *testing.T) {
	for name, spoil := range map[string]func(*fakeserver.Server){
		"introduces itself for another domain": func(s *fakeserver.Server) {
			s.Lie.Descriptor = func(d *wire.Descriptor) { d.Domain[0]++ }
		},
		"is behind": func(s *fakeserver.Server) { s.Lie.Grant = func(g *wire.Grant) { g.Epoch.Position-- } },
		"is down":   func(s *fakeserver.Server) { s.Refuse(errDown) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			two := w.domain.Server("two")
			w.client.kept.SaveToken(token(1))
			reroute(w.client, &ways.Way{Address: "board", Carrier: &board{faked: faked{w.server, two}}})
			w.seal("introduces both")
			spoil(w.server)
			w.server.Restart()
			w.client.cache.DropIf(all)
			w.seal("4111")
			if got := len(two.Requests()); got != 1 {
				t.Fatalf("the second server has %d requests", got)
			}
			w.client.cache.DropIf(all)
			before := len(w.server.Requests())
			w.seal("4111")
			if len(two.Requests()) != 2 || len(w.server.Requests()) != before {
				t.Error("the server that answered last is not asked first")
			}
			if err := w.client.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh = %v", err)
			}
		})
	}
}

// TestCallsNeedDirectWay: they say so.
func TestCallsNeedDirectWay(t *testing.T) {
	w := newWorld(t)
	w.client.kept.SaveToken(token(1))
	reroute(w.client, &ways.Way{Address: "board", Carrier: &board{faked: faked{w.server}}})
	w.seal("4111")
	_, keys := w.client.Keys(t.Context())
	_, use := w.client.Use(t.Context(), []UseItem{{Operation: "mac", Key: "k"}})
	if !errors.Is(keys, ErrNeedsDirect) || !errors.Is(use, ErrNeedsDirect) {
		t.Errorf("Keys = %v, Use = %v", keys, use)
	}
}

// TestSendTokens: the invite's opens first, then what servers give; a bad one from
// a single server locks nobody out; none at all is told as that.
func TestSendTokens(t *testing.T) {
	w := newWorld(t)
	b := &board{faked: faked{w.server}, key: token(1)}
	reroute(w.client, &ways.Way{Address: "board", Carrier: b})
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrSendToken) || !errors.Is(err, ErrUnavailable) || len(b.seen) > 0 {
		t.Fatalf("without a token: %v after %d tries", err, len(b.seen))
	}
	w.client.kept.SaveToken(token(1))
	w.server.Lie.Release = func(r *wire.Release) { r.SendToken = token(9) } // good for nothing
	w.seal("4111")
	w.client.cache.DropIf(all)
	w.seal("4111")
	if n := len(b.seen); n != 3 || !bytes.Equal(b.seen[1], token(9)) || !bytes.Equal(b.seen[2], token(1)) {
		t.Errorf("shown: %x", b.seen)
	}
	b.key = token(2)
	w.server.Lie.Release = func(r *wire.Release) { r.SendToken = token(2) }
	w.client.cache.DropIf(all)
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrSendToken) {
		t.Errorf("with two old tokens: %v", err)
	}
	reroute(w.client, append(w.client.net.Order(), wayTo(w.server))...) // directly, once
	w.seal("4111")
	again := w.dial()
	reroute(again, &ways.Way{Address: "board", Carrier: b})
	if _, err := again.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
		t.Errorf("with the token that came by another way: %v", err)
	}
	w.server.Lie.Release = func(r *wire.Release) { r.SendToken = []byte("short") }
	again.cache.DropIf(all)
	if _, err := again.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil || !bytes.Equal(again.kept.Tokens()[0], token(2)) {
		t.Errorf("a malformed token was kept, %v", err)
	}
}

// TestLostAnswer: the same message goes once more, so an invite that is used up
// still gets its answer; also if the answer came and somebody had changed it.
func TestLostAnswer(t *testing.T) {
	for name, boards := range map[string][]*board{
		"lost": {{lose: 1}}, "spoilt": {{spoil: true}, {}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := w.domain.Invite("late", "unused:1")
			dir := t.TempDir()
			p := &Profile{Dir: dir, Domain: in.Domain.String(), Addresses: in.Addresses, Client: in.Client}
			if err := p.check(); err != nil {
				t.Fatal(err)
			}
			d := &draft{Dir: keep.New(dir, p.domain), profile: p, invite: in}
			d.SaveToken(token(1))
			introduction, err := w.server.Introduction(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.believe(introduction, w.clock); err != nil {
				t.Fatal(err)
			}
			n, err := ways.New(d.view, ways.Options{Addresses: in.Addresses, Tokens: d.Dir})
			if err != nil {
				t.Fatal(err)
			}
			var all []*ways.Way
			for _, b := range boards {
				b.faked = faked{w.server}
				all = append(all, &ways.Way{Address: "board", Carrier: b})
			}
			n.Use(all...)
			err = d.certify(t.Context(), n)
			var asked [][]byte
			for _, b := range boards {
				asked = append(asked, b.asked...)
			}
			// The fake forgets what it answered: that it refuses shows what it was asked.
			if len(asked) != 2 || !bytes.Equal(asked[0], asked[1]) {
				t.Errorf("%d messages, and not the same twice: %v", len(asked), err)
			}
		})
	}
}

// TestWhoLies: the log says who doesn't tell the truth, once a minute, although no
// call fails.
func TestWhoLies(t *testing.T) {
	w := newWorld(t)
	two := w.domain.Server("two")
	var log bytes.Buffer
	c, err := Dial(t.Context(), w.profile, Options{Clock: w.clock, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.server.Lie.Grant = func(g *wire.Grant) { g.Client += "x" }
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease = 10 })
	for n := range 5 {
		reroute(c, &ways.Way{Address: "evil", Carrier: faked{w.server}}, &ways.Way{Address: "honest", Carrier: faked{two}})
		if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
		w.advance(25 * time.Second)
		lines, want := strings.Count(log.String(), "\n"), 1+n*25/60
		if n == 0 || n == 4 {
			if lines != want || strings.Count(log.String(), "way=evil") != want || !strings.Contains(log.String(), "server="+w.server.ID().String()) {
				t.Errorf("after %d lies: %s", n+1, log.String())
			}
		}
	}
}

// TestWays: addresses of all three kinds are read, others refused.
func TestWays(t *testing.T) {
	w := newWorld(t)
	addresses := []string{"host:1", "https://relay.example", "file://" + filepath.ToSlash(t.TempDir())}
	n, err := ways.New(w.client.view, ways.Options{Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	if all := n.Order(); len(all) != 3 || !all[0].Direct() || all[1].Direct() || all[2].Direct() {
		t.Errorf("%d ways, or of another kind", len(all))
	}
	for _, bad := range []string{"", "host", "http://relay.example", "file://relative", "https://u@relay"} {
		if _, err := ways.New(w.client.view, ways.Options{Addresses: []string{bad}}); !errors.Is(err, transport.ErrAddress) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
