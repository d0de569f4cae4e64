// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/keyserver/standing"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

var errDown = errors.New("down")

// carrier is a relay in memory.
type carrier struct {
	mu       sync.Mutex
	down     bool
	inbox    chan *wire.Delivery // nil entries break the line
	parcels  []string
	shown    [][]byte
	told     []string
	answers  map[string][]string
	receives int
}

func newCarrier() *carrier {
	return &carrier{inbox: make(chan *wire.Delivery, 1000), answers: map[string][]string{}}
}

func (c *carrier) Address() string { return "carrier" }

func (c *carrier) put(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errDown
	}
	c.told = append(c.told, what)
	return nil
}

func (c *carrier) PutIntroduction(_ context.Context, in []byte) error { return c.put(string(in)) }
func (c *carrier) PutStatement(_ context.Context, s []byte) error     { return c.put(string(s)) }
func (c *carrier) Statements(context.Context) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown, nil
}

func (c *carrier) PutParcel(ctx context.Context, to wire.Hash, _ time.Time, sealed []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errDown
	}
	c.parcels = append(c.parcels, to.String()+string(sealed))
	return ctx.Err()
}

func (c *carrier) PutTokens(_ context.Context, h []wire.Hash) error {
	return c.put("tokens" + string(h[0][:1]))
}

func (c *carrier) Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error] {
	return func(yield func(*wire.Delivery, error) bool) {
		c.mu.Lock()
		c.receives++
		down := c.down
		c.mu.Unlock()
		if down {
			yield(nil, errDown)
			return
		}
		for {
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case d := <-c.inbox:
				if d == nil {
					yield(nil, errDown)
					return
				}
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

func (c *carrier) Answer(ctx context.Context, correlation, answer []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[string(correlation)] = append(c.answers[string(correlation)], string(answer))
	return ctx.Err()
}

// heard takes what was told since the last call.
func (c *carrier) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := strings.Join(c.told, " ")
	c.told = nil
	return out
}

func (c *carrier) answered(correlation string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[correlation]
}

func (c *carrier) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	if down {
		c.inbox <- nil
	}
}

// server is a key server as far as carriers see it.
type server struct {
	mu                     sync.Mutex
	introduction, state    string
	token                  byte
	stated                 int
	changed                chan struct{}
	sealed                 bool
	heard                  []string
	answer                 func(ctx context.Context, sealed []byte) ([]byte, error)
	connected, reconnected []int
	exchanged              map[int]int
}

func newServer() *server {
	return &server{
		introduction: "intro1", state: "s", changed: make(chan struct{}), exchanged: map[int]int{},
		answer: func(_ context.Context, sealed []byte) ([]byte, error) { return append([]byte("re:"), sealed...), nil },
	}
}

func (s *server) Introduction() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.introduction), nil
}

func (s *server) Statement() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		return nil, errDown
	}
	s.stated++
	return []byte(s.state + strings.Repeat("+", s.stated)), nil
}

func (s *server) Hear(signed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, string(signed))
}

func (s *server) SendTokens() []wire.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []wire.Hash{{s.token}}
}

func (s *server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *server) Answer(ctx context.Context, sealed []byte) ([]byte, error) {
	return s.answer(ctx, sealed)
}

func (s *server) Connected(n int, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if up {
		s.connected = append(s.connected, n)
	} else {
		s.connected = append(s.connected, -n)
	}
}

func (s *server) Exchanged(_, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanged[status]++
}

func (s *server) Reconnected(n int, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconnected = append(s.reconnected, n)
}

func (s *server) move(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// running runs a test beside Run, in a bubble.
func running(t *testing.T, carriers int, test func(*testing.T, *server, []*carrier)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		o := Options{
			Every: 30 * time.Second, Observer: s, Logger: slog.New(slog.DiscardHandler), Pauses: transport.Pauses{First: time.Second, Most: 8 * time.Second},
			Trouble: func(error) wire.Trouble { return wire.Trouble{Type: wire.TypeTrouble, Status: 429, Code: "busy"} },
		}
		var all []*carrier
		for range carriers {
			c := newCarrier()
			all, o.Carriers = append(all, c), append(o.Carriers, c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); Run(ctx, s, o) }()
		synctest.Wait()
		test(t, s, all)
		cancel()
		start := time.Now()
		<-ended
		if time.Since(start) > 0 {
			t.Errorf("the end took %v", time.Since(start))
		}
	})
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestPublish: everything at first; then a statement at every interval, and what
// changed, at once.
func TestPublish(t *testing.T) {
	running(t, 1, func(t *testing.T, s *server, all []*carrier) {
		c := all[0]
		want := func(want string) {
			t.Helper()
			if got := c.heard(); got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		}
		want("tokens\x00 intro1 s+")
		after(29 * time.Second)
		want("")
		after(2 * time.Second)
		want("s++")
		s.move(func() { s.state = "r" })
		after(gap)
		want("r+++")
		s.move(func() { s.introduction, s.token = "intro2", 1 })
		after(gap)
		want("tokens\x01 intro2 r++++")
		// A log that moves without a pause costs ten statements a second.
		for range 1000 {
			s.move(func() {})
			after(time.Millisecond)
		}
		if n := len(strings.Fields(c.heard())); n < 8 || n > 11 {
			t.Errorf("%d statements in a second", n)
		}
	})
}

// TestReconnect: a carrier that comes back gets everything again, with pauses; a
// server that can't vouch for its state says nothing.
func TestReconnect(t *testing.T) {
	running(t, 2, func(t *testing.T, s *server, all []*carrier) {
		c, other := all[0], all[1]
		c.heard()
		other.heard()
		c.setDown(true)
		s.move(func() {})
		after(time.Hour)
		if got := c.heard(); got != "" {
			t.Errorf("heard %q", got)
		}
		if n := len(strings.Fields(other.heard())); n < 110 {
			t.Errorf("the other carrier heard %d statements in an hour", n)
		}
		c.mu.Lock()
		if c.receives < 400 || c.receives > 1000 {
			t.Errorf("%d tries in an hour, of 4 to 8 s each", c.receives)
		}
		c.mu.Unlock()
		c.setDown(false)
		after(9 * time.Second)
		if got := c.heard(); !strings.Contains(got, "tokens\x00 intro1 s+") {
			t.Errorf("heard %q", got)
		}
		s.mu.Lock()
		s.sealed = true
		s.mu.Unlock()
		c.heard()
		after(time.Hour)
		if got := c.heard(); strings.Contains(got, "s+") {
			t.Errorf("heard %q of a server that can't vouch", got)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.connected) < 4 || s.connected[len(s.connected)-1] > 0 || len(s.reconnected) < 800 {
			t.Errorf("connected %v, %d reconnects", s.connected, len(s.reconnected))
		}
	})
}

// TestForgetful: what a carrier may have lost with the line it gets again.
func TestForgetful(t *testing.T) {
	running(t, 1, func(t *testing.T, s *server, all []*carrier) {
		c := all[0]
		c.heard()
		c.inbox <- nil
		after(2 * time.Second)
		if got := c.heard(); !strings.HasPrefix(got, "tokens\x00 intro1 s") {
			t.Errorf("heard %q", got)
		}
		after(renewAll + time.Second)
		if got := c.heard(); !strings.Contains(got, "intro1") {
			t.Errorf("heard %q", got)
		}
	})
}

func delivery(name, data string) *wire.Delivery {
	return &wire.Delivery{Correlation: []byte(name), Data: []byte(data)}
}

// TestSeveralOfOneRelay: a message that comes by two carriers while it is worked on
// is answered once.
func TestSeveralOfOneRelay(t *testing.T) {
	running(t, 2, func(t *testing.T, s *server, all []*carrier) {
		hold, worked := make(chan struct{}), 0
		s.answer = func(_ context.Context, sealed []byte) ([]byte, error) {
			worked++
			<-hold
			return sealed, nil
		}
		for _, c := range all {
			c.inbox <- delivery("1", "slow")
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		if n := len(all[0].answered("1")) + len(all[1].answered("1")); n != 1 || worked != 1 {
			t.Errorf("worked on %d times, answered %d times", worked, n)
		}
	})
}

// TestAnswers: each message gets the server's answer or its trouble, under its own
// correlation; one that is told twice is answered once.
func TestAnswers(t *testing.T) {
	running(t, 1, func(t *testing.T, s *server, all []*carrier) {
		c := all[0]
		hold := make(chan struct{})
		s.answer = func(_ context.Context, sealed []byte) ([]byte, error) {
			switch string(sealed) {
			case "slow":
				<-hold
			case "bad":
				return nil, errDown
			}
			return append([]byte("re:"), sealed...), nil
		}
		for _, d := range []*wire.Delivery{
			delivery("1", "slow"), delivery("2", "bad"), delivery("3", "good"), delivery("1", "slow"), {Number: 7, Data: []byte("parcel")},
		} {
			c.inbox <- d
		}
		synctest.Wait()
		if got := c.answered("3"); len(got) != 1 || got[0] != "re:good" {
			t.Errorf("%q", got)
		}
		got := c.answered("2")
		if len(got) != 1 {
			t.Fatalf("%q", got)
		}
		if trouble, err := wire.ParseTrouble([]byte(got[0])); err != nil || trouble.Code != "busy" {
			t.Errorf("%q, %v", got, err)
		}
		if got := c.answered("1"); len(got) != 0 {
			t.Errorf("%q", got)
		}
		close(hold)
		synctest.Wait()
		if got := c.answered("1"); len(got) != 1 || got[0] != "re:slow" {
			t.Errorf("%q", got)
		}
		if got := c.answered(""); len(got) != 0 {
			t.Errorf("a parcel was answered: %q", got)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.exchanged[200] != 2 || s.exchanged[429] != 1 {
			t.Errorf("%v", s.exchanged)
		}
	})
}

// TestBound: so many messages are worked on, and no more; those of another carrier
// have places of their own. None is worked on for longer than anybody waits.
func TestBound(t *testing.T) {
	running(t, 2, func(t *testing.T, s *server, all []*carrier) {
		var working atomic.Int64
		s.answer = func(ctx context.Context, sealed []byte) ([]byte, error) {
			if bytes.Equal(sealed, []byte("other")) {
				return sealed, nil
			}
			working.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for i := range 2 * atOnce {
			all[0].inbox <- delivery(string(rune('a'+i)), "slow")
		}
		all[1].inbox <- delivery("1", "other")
		synctest.Wait()
		if n := working.Load(); n != atOnce {
			t.Errorf("%d at once", n)
		}
		if got := all[1].answered("1"); len(got) != 1 {
			t.Errorf("the other carrier waits: %q", got)
		}
		after(answerIn)
		if n := working.Load(); n != 2*atOnce {
			t.Errorf("%d after their time", n)
		}
	})
}

// TestDeliver: a parcel goes to every carrier, and one that takes it is enough.
func TestDeliver(t *testing.T) {
	a, b := newCarrier(), newCarrier()
	all := []Carrier{a, b}
	p := standing.Parcel{To: wire.Hash{1}, Expires: 1 << 40, Sealed: []byte("sealed")}
	if err := Deliver(t.Context(), all, p); err != nil {
		t.Fatal(err)
	}
	a.down = true
	if err := Deliver(t.Context(), all, p); err != nil {
		t.Errorf("one is down: %v", err)
	}
	b.down = true
	if err := Deliver(t.Context(), all, p); !errors.Is(err, errDown) {
		t.Errorf("both are down: %v", err)
	}
	want := wire.Hash{1}.String() + "sealed"
	if len(a.parcels) != 1 || len(b.parcels) != 2 || a.parcels[0] != want || b.parcels[0] != want {
		t.Errorf("%q %q", a.parcels, b.parcels)
	}
}

// TestHears: what a carrier shows is heard at every interval, also by a server that
// has nothing to say.
func TestHears(t *testing.T) {
	running(t, 1, func(t *testing.T, s *server, all []*carrier) {
		all[0].mu.Lock()
		all[0].shown = [][]byte{[]byte("a"), []byte("b")}
		all[0].mu.Unlock()
		s.mu.Lock()
		s.sealed = true
		s.mu.Unlock()
		after(31 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.heard) < 2 || s.heard[0] != "a" || s.heard[1] != "b" {
			t.Errorf("heard %q", s.heard)
		}
	})
}
