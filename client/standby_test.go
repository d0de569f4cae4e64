// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"claviger/client/internal/standing"
	"claviger/client/internal/ways"
	"claviger/envelope"
	"claviger/internal/members"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// postbox is the mailbox of the client's run.
type postbox struct {
	parcels chan *wire.Delivery

	mu      sync.Mutex
	put     uint64
	deleted int
	readers int
	begun   int // readers, ever
}

func (b *postbox) Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error] {
	return func(yield func(*wire.Delivery, error) bool) {
		b.change(func() { b.readers, b.begun = b.readers+1, b.begun+1 })
		defer b.change(func() { b.readers-- })
		for {
			select {
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			case d := <-b.parcels:
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

func (b *postbox) DeleteParcel(context.Context, uint64) error {
	b.change(func() { b.deleted++ })
	return nil
}

func (b *postbox) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *postbox) reading() (n int) {
	b.change(func() { n = b.readers })
	return n
}

// leave puts a parcel into the mailbox, and waits until it has been dealt with.
func (b *postbox) leave(t *testing.T, sealed []byte) {
	t.Helper()
	b.change(func() { b.put++ })
	b.parcels <- &wire.Delivery{Number: b.put, Data: sealed}
	synctest.Wait()
	b.change(func() {
		if b.deleted != int(b.put) {
			t.Errorf("%d parcels of %d are deleted", b.deleted, b.put)
		}
	})
}

// onStandby is a world whose client has a standing request for one key.
func onStandby(t *testing.T, f func(w *world, p *pushing, b *postbox, r fakeserver.Standing)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		b := &postbox{parcels: make(chan *wire.Delivery)}
		reroute(w.client, &ways.Way{Address: "relay", Carrier: p, Inbox: func(m *transport.Mailbox) ways.Inbox {
			if m.ID() != w.client.mailbox.ID() {
				t.Error("another mailbox is read than requests name")
			}
			return b
		}})
		w.seal("4111")
		<-time.After(2 * standAfter)
		synctest.Wait()
		kept := w.server.Standing()
		if len(kept) != 1 || b.reading() != 1 {
			t.Fatalf("%d standing requests, %d readers", len(kept), b.reading())
		}
		f(w, p, b, kept[0])
	})
}

// version is the one that the client seals with, 0 if it can't.
func (w *world) version() uint64 {
	w.t.Helper()
	sealed, err := w.client.Encrypt(w.t.Context(), "payments/cards", nil, EncryptOptions{})
	if err != nil {
		return 0
	}
	info, err := envelope.Inspect(bytes.NewReader(sealed))
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Slots[0].Version
}

// stateBy is a new statement, also while the server can't be reached.
func (w *world) stateBy(s *fakeserver.Server) []byte {
	w.t.Helper()
	refuse := s.Refusing()
	s.Refuse(nil)
	defer s.Refuse(refuse)
	out, err := s.Statement(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestStandingRequest: what it says.
func TestStandingRequest(t *testing.T) {
	onStandby(t, func(w *world, _ *pushing, _ *postbox, r fakeserver.Standing) {
		if len(r.Items) != 1 || r.Items[0].Name != "payments/cards" || r.Items[0].Version != 0 || len(r.Standing) != wire.MaxStanding {
			t.Errorf("%d items, %d keys", len(r.Items), len(r.Standing))
		}
		if r.Mailbox != w.client.mailbox.ID() || r.Until != start.Add(standing.Life).UnixMilli() {
			t.Errorf("mailbox %s, until %d", r.Mailbox, r.Until)
		}
	})
}

// TestAheadOfNeedOverMailbox: the new version is there before it is needed, without
// a question; and it is used when a statement vouches for it, until then the old one.
func TestAheadOfNeedOverMailbox(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Rotate(w.key)
		before := len(w.server.Requests())
		ahead := w.server.Ahead(r, 0)
		w.cut()
		b.leave(t, ahead)
		if v := w.version(); v != 1 {
			t.Errorf("version %d before a statement vouches for the next", v)
		}
		w.advance(time.Second)
		p.news <- w.stateBy(w.server)
		synctest.Wait()
		if v := w.version(); v != 2 || len(w.server.Requests()) != before {
			t.Errorf("version %d, %d requests", v, len(w.server.Requests())-before)
		}
		w.advance(14 * time.Minute)
		if v := w.version(); v != 2 {
			t.Errorf("version %d within the staleness bound", v)
		}
		w.advance(2 * time.Minute)
		if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrStale) {
			t.Errorf("beyond the staleness bound: %v", err)
		}
		for range 4 {
			w.advance(10 * time.Minute)
			p.news <- w.stateBy(w.server)
			synctest.Wait()
		}
		if v := w.version(); v != 2 {
			t.Errorf("version %d shortly before the lease's end", v)
		}
		w.advance(5 * time.Minute)
		if v := w.version(); v != 0 {
			t.Error("a release made ahead of need is used after its lease")
		}
	})
}

// TestAheadOpensOnce: what is played again, or sealed to a key that was used, is of
// no use.
func TestAheadOpensOnce(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Rotate(w.key)
		first, second := w.server.Ahead(r, 0), w.server.Ahead(r, 0)
		for n, parcel := range [][]byte{first, first, second} {
			b.leave(t, parcel)
			if got := w.client.waiting.Len(); got != max(1-n, 0) {
				t.Errorf("parcel %d: %d releases wait", n, got)
			}
			w.client.waiting.DropIf(all)
		}
	})
}

// TestAheadLies: each check of a release that came ahead of need.
func TestAheadLies(t *testing.T) {
	grant := func(f func(*wire.Grant)) func(*world, *fakeserver.Standing) {
		return func(w *world, _ *fakeserver.Standing) { w.server.Lie.Grant = f }
	}
	for name, spoil := range map[string]func(*world, *fakeserver.Standing){
		"another domain":           grant(func(g *wire.Grant) { g.Domain[0]++ }),
		"a server of no domain":    grant(func(g *wire.Grant) { g.Server[0]++ }),
		"another client":           grant(func(g *wire.Grant) { g.Client += "x" }),
		"another request":          grant(func(g *wire.Grant) { g.Request[0]++ }),
		"another one-time key":     grant(func(g *wire.Grant) { g.HPKE[0]++ }),
		"another membership":       grant(func(g *wire.Grant) { g.Members[0]++ }),
		"next generation":          grant(func(g *wire.Grant) { g.Epoch.Generation++ }),
		"an epoch before":          grant(func(g *wire.Grant) { g.Epoch.Position -= 2 }),
		"the same epoch, forked":   grant(func(g *wire.Grant) { g.Epoch.Position--; g.Head[0]++ }),
		"from the future":          grant(func(g *wire.Grant) { g.Issued += 60_000 }),
		"an hour old":              grant(func(g *wire.Grant) { g.Issued -= 3600_000 }),
		"no word in a lease":       grant(func(g *wire.Grant) { g.Items[0].Staleness = 0 }),
		"another key":              grant(func(g *wire.Grant) { g.Items[0].Name += "x" }),
		"a version not active":     grant(func(g *wire.Grant) { g.Items[0].State = wire.StateDeactivated }),
		"another commitment":       grant(func(g *wire.Grant) { g.Items[0].KC[0]++ }),
		"signed as something else": func(w *world, _ *fakeserver.Standing) { w.server.Lie.Type = wire.TypeStatement },
		"of a server that is fenced": func(w *world, _ *fakeserver.Standing) {
			two := w.domain.Server("two")
			reroute(w.client, append(w.client.net.Order(), wayTo(two))...)
			w.domain.Change(members.KindFence, members.Fence{Server: w.server.ID(), Reason: "stolen"})
		},
		"for a request never made": func(_ *world, r *fakeserver.Standing) { r.Hash[0]++ },
	} {
		t.Run(name, func(t *testing.T) {
			onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
				w.domain.Rotate(w.key)
				spoil(w, &r)
				ahead := w.server.Ahead(r, 0)
				w.server.Lie = fakeserver.Lies{}
				b.leave(t, ahead)
				if n := w.client.waiting.Len(); n != 0 {
					t.Errorf("%d releases wait", n)
				}
			})
		})
	}
}

// TestAheadOfAnotherServer: any server of the domain may answer, also one that joined
// since.
func TestAheadOfAnotherServer(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		two := w.domain.Server("two")
		w.domain.Rotate(w.key)
		b.leave(t, two.Ahead(r, 3))
		w.cut()
		w.advance(time.Second)
		p.news <- w.stateBy(two)
		synctest.Wait()
		if v := w.version(); v != 2 {
			t.Errorf("version %d", v)
		}
	})
}

// TestAheadIsNoNews: neither the release itself nor an old statement vouches for it,
// and what a later epoch revokes is gone before it was used.
func TestAheadIsNoNews(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Rotate(w.key)
		old := w.stateBy(w.server)
		w.advance(16 * time.Minute)
		ahead := w.server.Ahead(r, 0)
		w.cut()
		b.leave(t, ahead)
		if v := w.version(); v != 0 {
			t.Errorf("version %d without a statement", v)
		}
		p.news <- old
		synctest.Wait()
		if v := w.version(); v != 0 {
			t.Errorf("version %d with a statement older than its bound", v)
		}
		w.domain.Revoke(w.key.Revocation)
		p.news <- w.stateBy(w.server)
		synctest.Wait()
		if v, n := w.version(), w.client.waiting.Len(); v != 0 || n != 0 {
			t.Errorf("version %d, %d wait after the revocation", v, n)
		}
	})
}

// TestAheadBelowMark: one that was overtaken by news is refused, as if it had never
// come.
func TestAheadBelowMark(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Rotate(w.key)
		ahead := w.server.Ahead(r, 0)
		w.domain.Tick()
		w.cut()
		p.news <- w.stateBy(w.server)
		synctest.Wait()
		b.leave(t, ahead)
		if v, n := w.version(), w.client.waiting.Len(); v != 1 || n != 0 {
			t.Errorf("version %d, %d wait", v, n)
		}
	})
}

// TestAheadDenies: a denial that nobody asked for ends no lease.
func TestAheadDenies(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Tick()
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
		b.leave(t, w.server.Ahead(r, 0))
		w.cut()
		if v := w.version(); v != 1 {
			t.Errorf("version %d", v)
		}
	})
}

// TestStandingEnds: with the last lease the keys are erased and nobody reads the
// mailbox; with the next one it begins anew.
func TestStandingEnds(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		w.domain.Revoke(w.key.Revocation)
		p.push(t)
		<-time.After(2 * sweepEvery)
		synctest.Wait()
		if b.reading() != 0 {
			t.Error("the mailbox is read with nothing at hand")
		}
		w.domain.AddKey("payments/other")
		if _, err := w.client.Encrypt(t.Context(), "payments/other", nil, EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * standAfter)
		synctest.Wait()
		kept := w.server.Standing()
		if len(kept) != 2 || b.reading() != 1 || kept[1].Items[0].Name != "payments/other" {
			t.Fatalf("%d standing requests, %d readers", len(kept), b.reading())
		}
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "" })
		b.leave(t, w.server.Ahead(r, 0))
		if n := w.client.waiting.Len(); n != 0 {
			t.Error("the keys of the request before are still at hand")
		}
	})
}

// TestStandingIsRenewed: when half of its keys or of its time are over, with new keys.
func TestStandingIsRenewed(t *testing.T) {
	for name, wear := range map[string]func(w *world, b *postbox, r fakeserver.Standing){
		"keys": func(w *world, b *postbox, r fakeserver.Standing) {
			for n := range wire.MaxStanding / 2 {
				b.leave(w.t, w.server.Ahead(r, n))
			}
		},
		"time": func(w *world, _ *postbox, _ fakeserver.Standing) {
			w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease, k.Staleness = 48*3600, 48*3600 })
			w.client.cache.DropIf(all)
			w.seal("4111")
			for range 4 {
				w.advance(standing.Life / 6)
				if err := w.client.Renew(w.t.Context()); err != nil {
					w.t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
				<-time.After(2 * standEvery)
				if n := len(w.server.Standing()); n != 1 {
					t.Fatalf("%d standing requests before it is time", n)
				}
				wear(w, b, r)
				<-time.After(2 * standEvery)
				synctest.Wait()
				kept := w.server.Standing()
				if len(kept) != 2 || bytes.Equal(kept[1].Standing[15], r.Standing[15]) {
					t.Fatalf("%d standing requests, or the same keys", len(kept))
				}
				w.domain.Rotate(w.key)
				b.leave(t, w.server.Ahead(r, 15))
				if w.client.waiting.Len() != 0 {
					t.Error("a request that was replaced is answered")
				}
				b.leave(t, w.server.Ahead(kept[1], 0))
				if w.client.waiting.Len() != 1 {
					t.Error("the new one is not")
				}
			})
		})
	}
}

// TestStandingIsBounded: parcels of no use make the client wait, and direct ways
// bring no standing requests.
func TestStandingIsBounded(t *testing.T) {
	onStandby(t, func(w *world, p *pushing, b *postbox, r fakeserver.Standing) {
		for range 40 {
			b.leave(t, []byte("junk"))
		}
		b.change(func() {
			if b.begun != 3 {
				t.Errorf("40 parcels of no use are taken in %d visits", b.begun)
			}
		})
	})
	inBubble(t, func(t *testing.T, w *world, _ *pushing) {
		w.seal("4111")
		<-time.After(2 * standAfter)
		synctest.Wait()
		if n := len(w.server.Standing()); n != 0 {
			t.Errorf("%d standing requests without a mailbox", n)
		}
	})
}
