// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"claviger/client/internal/ways"
	"claviger/envelope"
	"claviger/internal/pace"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// pushing is a way on which statements come by themselves, when the test makes
// them.
type pushing struct {
	faked
	news  chan []byte
	lines chan int // +1 at each begin, -1 at each end
}

func newPushing(f faked) *pushing {
	return &pushing{faked: f, news: make(chan []byte), lines: make(chan int, 100)}
}

func (p *pushing) Follow(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		p.lines <- 1
		defer func() { p.lines <- -1 }()
		for {
			select {
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			case s := <-p.news:
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// push shows a new statement to who follows.
func (p *pushing) push(t *testing.T) {
	t.Helper()
	s, err := p.faked[0].Statement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.news <- s
}

// followers is how many follow now.
func (p *pushing) followers() (n int) {
	for {
		select {
		case d := <-p.lines:
			n += d
		default:
			return n
		}
	}
}

// inBubble is a world whose time the bubble moves, apart from the two clocks.
func inBubble(t *testing.T, f func(t *testing.T, w *world, p *pushing)) {
	w := newWorld(t)
	if err := w.client.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.client = w.dial()
		p := newPushing(faked{w.server})
		reroute(w.client, &ways.Way{Address: "push", Carrier: p})
		f(t, w, p)
	})
}

// settle lets the follower connect.
func settle() {
	<-time.After(time.Second)
	synctest.Wait()
}

// TestPush: what is revoked is gone when the statement comes, not at the next use;
// and the server is told so.
func TestPush(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		settle()
		if n := p.followers(); n != 0 {
			t.Fatalf("%d follow before there is a lease", n)
		}
		sealed := w.seal("4111")
		settle()
		if n := p.followers(); n != 1 {
			t.Fatalf("%d follow", n)
		}
		w.advance(time.Second)
		p.push(t)
		synctest.Wait()
		if w.client.cache.Len() != 1 || len(w.server.Acks()) != 0 {
			t.Fatal("a statement that revokes nothing ended a lease, or was acknowledged")
		}
		w.domain.Revoke(w.key.Revocation)
		w.advance(time.Second)
		p.push(t)
		synctest.Wait()
		if n := w.client.cache.Len(); n != 0 {
			t.Errorf("%d leases left", n)
		}
		acks := w.server.Acks()
		if len(acks) != 1 {
			t.Fatalf("%d acknowledgements", len(acks))
		}
		epoch, head := w.domain.At()
		mailbox := w.server.Requests()[0].Mailbox
		a := acks[0]
		if a.Epoch != epoch || a.Head != head || a.At != w.remote.Now().UnixMilli() || wire.MailboxID(a.Mailbox) != mailbox {
			t.Errorf("acknowledged %+v, want epoch %s at %d by %s", a, epoch, w.remote.Now().UnixMilli(), mailbox)
		}
		if _, denied := errors.AsType[*DeniedError](w.open(sealed)); !denied {
			t.Error("a revoked key opens")
		}
	})
}

// TestFollowerEnds: with the last lease, and with the Client.
func TestFollowerEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		w.seal("4111")
		settle()
		w.advance(2 * time.Hour)
		<-time.After(3 * sweepEvery)
		synctest.Wait()
		on := 0
		for len(p.lines) > 0 {
			on += <-p.lines
		}
		if on != 0 {
			t.Errorf("%d follow without a lease", on)
		}
		w.seal("4111")
		settle()
		if n := p.followers(); n != 1 {
			t.Fatalf("%d follow with a new lease", n)
		}
		if err := w.client.Close(); err != nil {
			t.Error(err)
		}
		if n := p.followers(); n != -1 {
			t.Errorf("the follower outlives its client")
		}
	})
}

// TestSwallowedStatements: a way that shows nothing new is left for another.
func TestSwallowedStatements(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, quiet *pushing) {
		honest := newPushing(faked{w.server})
		reroute(w.client, append(w.client.net.Order(), &ways.Way{Address: "honest", Carrier: honest})...)
		w.seal("4111")
		settle()
		old, err := w.server.Statement(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.domain.Revoke(w.key.Revocation)
		for range 10 { // the liar shows the same again and again
			<-time.After(10 * time.Second)
			w.advance(10 * time.Second)
			select {
			case quiet.news <- old:
			default:
			}
		}
		synctest.Wait()
		if quiet.followers() != 0 {
			t.Error("a way that shows an old statement only is followed on")
		}
		honest.push(t)
		synctest.Wait()
		if n := w.client.cache.Len(); n != 0 {
			t.Errorf("%d leases left", n)
		}
	})
}

// TestAckIsTriedAgain: by another way, and at a later contact.
func TestAckIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		w.seal("4111")
		settle()
		w.domain.Revoke(w.key.Revocation)
		w.domain.AddKey("payments/other")
		s, err := w.server.Statement(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.cut()
		p.news <- s
		synctest.Wait()
		<-time.After(2 * payFor)
		synctest.Wait()
		if w.client.cache.Len() != 0 || len(w.server.Acks()) != 0 {
			t.Fatal("the key is kept, or the server heard through a broken line")
		}
		w.mend()
		if _, err := w.client.Encrypt(t.Context(), "payments/other", nil, EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(w.server.Acks()); n != 1 {
			t.Errorf("%d acknowledgements", n)
		}
	})
}

// TestAheadOfNeed: after a rotation the new version is there before it is needed,
// also if every server is gone by then; one request for all.
func TestAheadOfNeed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		other := w.domain.AddKey("payments/other")
		w.seal("4111")
		if _, err := w.client.Encrypt(t.Context(), "payments/other", nil, EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		before := len(w.server.Requests())
		w.domain.Rotate(w.key)
		w.domain.Rotate(other)
		w.advance(time.Second)
		p.push(t)
		<-time.After(pace.NewsSpread)
		synctest.Wait()
		requests := w.server.Requests()
		if len(requests) != before+1 || len(requests[before].Items) != 2 {
			t.Fatalf("%d requests more", len(requests)-before)
		}
		w.cut()
		sealed := w.seal("4111")
		if info, err := envelope.Inspect(bytes.NewReader(sealed)); err != nil || info.Slots[0].Version != 2 {
			t.Errorf("sealed with %+v, %v", info, err)
		}
		w.domain.Tick()
		w.domain.Set(other, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
		w.mend()
		w.advance(time.Second)
		p.push(t)
		<-time.After(pace.NewsSpread)
		synctest.Wait()
		if n := w.client.cache.Len(); n != 1 {
			t.Errorf("%d leases after one of two was taken back", n)
		}
	})
}

// halting revokes the stream's key after the first megabyte.
type halting struct {
	from io.Reader
	left int
	halt func()
}

func (h *halting) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	if h.left > 0 && h.left-n <= 0 {
		h.halt()
	}
	h.left -= n
	return n, err
}

// TestStreamStops: a stream whose key is revoked on the way fails.
func TestStreamStops(t *testing.T) {
	w := newWorld(t)
	plain := bytes.Repeat([]byte("claviger"), 1<<18)
	var sealed bytes.Buffer
	if _, err := w.client.EncryptStream(t.Context(), "payments/cards", &sealed, bytes.NewReader(plain), EncryptOptions{}); err != nil {
		t.Fatal(err)
	}
	revoke := func() {
		w.domain.Revoke(w.key.Revocation)
		if err := w.client.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "" })
	}
	_, err := w.client.DecryptStream(t.Context(), io.Discard, &halting{&sealed, 1 << 20, revoke}, DecryptOptions{AnyKey: true})
	if !errors.Is(err, ErrRevoked) {
		t.Errorf("DecryptStream = %v", err)
	}
	_, err = w.client.EncryptStream(t.Context(), "payments/cards", io.Discard, &halting{bytes.NewReader(plain), 1 << 20, revoke}, EncryptOptions{})
	if !errors.Is(err, ErrRevoked) {
		t.Errorf("EncryptStream = %v", err)
	}
	src := io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain)))
	if _, err := w.client.EncryptFile(t.Context(), "payments/cards", nowhere{}, src, EncryptOptions{}); err != nil {
		t.Errorf("EncryptFile with a key that is enabled again: %v", err)
	}
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// TestGoodbye: at its end a client tells who gave it leases that all are dropped, once
// the keys are gone, and waits for nobody.
func TestGoodbye(t *testing.T) {
	w := newWorld(t)
	two := w.domain.Server("two")
	for name, play := range map[string]func(c *Client) int{
		"nothing leased": func(*Client) int { return 0 },
		"leased": func(c *Client) int {
			if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
				t.Fatal(err)
			}
			return 1
		},
		"lease over": func(c *Client) int {
			if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Hour)
			return 0
		},
	} {
		c := w.dial(w.server, two)
		before := len(w.server.Acks())
		want := before + play(c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		acks := w.server.Acks()
		if len(acks) != want || len(two.Acks()) != 0 {
			t.Fatalf("%s: %d goodbyes, and %d to another server", name, len(acks)-before, len(two.Acks()))
		}
		epoch, head := w.domain.At()
		if last := len(acks) - 1; want > before && (!acks[last].Gone || acks[last].Epoch != epoch || acks[last].Head != head || wire.MailboxID(acks[last].Mailbox) != c.mailbox.ID()) {
			t.Errorf("%s: %+v", name, acks[last])
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		c := w.dial()
		if _, err := c.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
			t.Fatal(err)
		}
		reroute(c, &ways.Way{Address: "deaf", Carrier: deaf{faked{w.server}}})
		late := time.AfterFunc(byeFor+time.Millisecond, func() { t.Error("Close waits for a server that doesn't answer") })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		late.Stop()
	})
}

// deaf is a way on which nothing is ever answered.
type deaf struct{ faked }

func (deaf) Introductions(ctx context.Context) ([][]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestReplacedInUse: a lease in use is replaced in its second half, before it ends and
// with nobody waiting for that; one that nobody uses isn't, and a failure stops nobody.
func TestReplacedInUse(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, _ *pushing) {
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease, k.Staleness = 1000, 100_000 })
		w.seal("4111")
		settle()
		first := len(w.server.Requests())
		asked := func() int {
			synctest.Wait()
			return len(w.server.Requests()) - first
		}
		w.advance(500*time.Second - 2)
		w.seal("in the first half")
		if n := asked(); n != 0 {
			t.Fatalf("%d requests in the first half", n)
		}
		w.cut()
		w.advance(499 * time.Second)
		w.seal("at the end, with no server there")
		if n := asked(); n != 0 {
			t.Fatalf("%d requests reached a server that isn't there", n)
		}
		w.mend()
		w.seal("a moment later")
		if n := asked(); n != 0 {
			t.Errorf("%d requests right after a failure", n)
		}
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease = 10_000 })
		w.client.cache.DropIf(all)
		w.seal("a new one")
		w.advance(9_999 * time.Second)
		if n := asked(); n != 1 {
			t.Errorf("%d requests by nobody's use", n-1)
		}
		w.seal("at its end")
		if n := asked(); n != 2 {
			t.Errorf("%d requests by a use near the end, want 1", n-1)
		}
		w.cut()
		w.advance(5 * time.Second)
		w.seal("with what came meanwhile")
	})
}

// TestFruitlessLooks: records that change nothing are looked at ever more seldom, and
// one that does is followed by quick looks again.
func TestFruitlessLooks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *pushing) {
		w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease, k.Staleness = 100_000, 100_000 })
		w.seal("4111")
		settle()
		looks := func(within time.Duration) int {
			p.followers() // or the channel that counts them is full some time
			before := len(w.server.Requests())
			w.domain.Tick()
			w.advance(time.Second)
			p.push(t)
			<-time.After(within)
			synctest.Wait()
			return len(w.server.Requests()) - before
		}
		within := pace.NewsSpread
		for range 9 {
			if n := looks(within); n != 1 {
				t.Fatalf("%d looks within %v", n, within)
			}
			within = pace.Next(within, pace.MostSpread)
		}
		if within != pace.MostSpread {
			t.Errorf("looks within %v by then", within)
		}
		// All ten within the shortest time by chance: (1/90)^10.
		quick := 0
		for range 10 {
			quick += looks(pace.NewsSpread)
			p.followers()
			<-time.After(pace.MostSpread)
			synctest.Wait()
		}
		if quick == 10 {
			t.Error("records without news are followed by quick looks")
		}
		w.domain.Rotate(w.key)
		if n := looks(pace.MostSpread); n != 1 {
			t.Fatalf("%d looks after a rotation", n)
		}
		if n := looks(pace.NewsSpread); n != 1 {
			t.Errorf("%d quick looks after one that brought something new", n)
		}
	})
}
