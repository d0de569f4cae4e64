// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/audit"
	"claviger/internal/clock"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// way is how workloads come to the server.
type way string

const (
	direct  way = "direct"
	relayed way = "relay"
)

// overEachWay runs a scenario over every way: what carries messages must not matter.
func overEachWay(t *testing.T, scenario func(*testing.T, way)) {
	t.Parallel()
	for _, by := range []way{direct, relayed} {
		t.Run(string(by), func(t *testing.T) {
			t.Parallel()
			scenario(t, by)
		})
	}
}

func newWorldBy(t *testing.T, by way) *world {
	t.Helper()
	return worldBy(t, by, testkit.Options{})
}

// worldBy is a world whose workloads have an invite for that way and know no other.
func worldBy(t *testing.T, by way, o testkit.Options) *world {
	t.Helper()
	if by == direct {
		return worldWith(t, o)
	}
	w := &world{t: t, clock: clock.NewManual(start)}
	o.Clock = running{w.clock, clock.System(), clock.System().Boot()}
	o.Relays = func(domain wire.DomainID) []string {
		w.relay = hostile.New(t, hostile.Options{Clock: o.Clock}, domain)
		return []string{w.relay.Address}
	}
	w.found(o)
	return w
}

// running is a clock that a test moves and that runs by itself besides: relays
// take no two statements of one moment.
type running struct {
	set   *clock.Manual
	by    clock.Clock
	since time.Duration
}

func (r running) Now() time.Time      { return r.set.Now().Add(r.by.Boot() - r.since) }
func (r running) Boot() time.Duration { return r.set.Boot() + r.by.Boot() - r.since }

// carrier is somebody hostile on the way: a man in the middle who has the server's
// TLS key, or whoever owns the relay. He is honest until he is told otherwise.
type carrier interface {
	at() string
	exchanges(testkit.Script)  // decides about questions and their answers
	everything(testkit.Script) // and about all else
	honest()
}

func (w *world) carrier() carrier {
	w.t.Helper()
	if w.relay != nil {
		return owner{w.relay}
	}
	return man{w.Man()}
}

type man struct{ *testkit.Man }

func (m man) at() string                  { return m.Address }
func (m man) exchanges(s testkit.Script)  { m.On("/v1/exchange", s) }
func (m man) everything(s testkit.Script) { m.Do(s) }
func (m man) honest()                     { m.Do(testkit.Honest) }

type owner struct{ *hostile.Relay }

func (o owner) at() string                 { return o.Address }
func (o owner) exchanges(s testkit.Script) { o.On(hostile.Exchange, s) }
func (o owner) honest()                    { o.Honest() }

// everything is what clients ask: the server is let alone, so that it is still there
// afterwards.
func (o owner) everything(s testkit.Script) {
	for _, route := range []string{hostile.Introductions, hostile.Statements, hostile.Follow, hostile.Exchange} {
		o.On(route, s)
	}
}

// lied runs a table of lies of a server that was joined, which a client has to
// see through, and ends with honesty, which it believes.
func lied(t *testing.T, by way, lies map[string]func(*testkit.Forgery)) {
	t.Helper()
	w := newWorldBy(t, by)
	mole := w.Mole(true)
	for name, lie := range lies {
		mole.Lie(lie)
		c := w.Dial(w.app1, mole.Address)
		before := c.Epoch()
		asked := mole.Asked()
		out, err := c.Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{})
		if !errors.Is(err, client.ErrIntegrity) || out != nil {
			t.Errorf("%s: %d bytes, %v, want ErrIntegrity", name, len(out), err)
		}
		if mole.Asked() == asked {
			t.Errorf("%s: the lie was never told", name)
		}
		if c.Epoch() != before {
			t.Errorf("%s: the client moved from epoch %s to %s", name, before, c.Epoch())
		}
	}
	mole.Lie(nil)
	w.seal(w.Dial(w.app1, mole.Address), cards)
}

// crossed answers the second of two questions with the answer to the first, and
// holds that the client takes nothing from it.
func crossed(t *testing.T, by way, first, second func(w *world, c *client.Client) error) {
	t.Helper()
	w := newWorldBy(t, by)
	man := w.carrier()
	var old testkit.Answer
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		old = forward(m)
		return old
	})
	if err := first(w, w.Dial(w.app1, man.at())); err != nil {
		t.Fatalf("the honest exchange: %v", err)
	}
	man.exchanges(func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return old })
	if err := second(w, w.Dial(w.app1, man.at())); !errors.Is(err, client.ErrIntegrity) {
		t.Errorf("an answer to another question: %v, want ErrIntegrity", err)
	}
	man.honest()
	if err := second(w, w.Dial(w.app1, man.at())); err != nil {
		t.Errorf("the same with an honest carrier: %v", err)
	}
}

func encryptWith(key string, o client.EncryptOptions) func(*world, *client.Client) error {
	return func(w *world, c *client.Client) error {
		_, err := c.Encrypt(w.t.Context(), key, plaintext, o)
		return err
	}
}

// ask sends an honest request and returns the verified grant.
func (w *world) ask(raw *testkit.Raw, item wire.Item) *wire.Grant {
	w.t.Helper()
	g, release := w.release(raw, item)
	for _, k := range release.Keys {
		secret.Wipe(k)
	}
	return g
}

func (w *world) release(raw *testkit.Raw, item wire.Item) (*wire.Grant, *wire.Release) {
	w.t.Helper()
	req, hpke := raw.Request(item)
	sealed := w.Seal(wire.TypeRequest, raw.Sign(req))
	a := raw.Exchange(sealed)
	if a.Status != http.StatusOK {
		w.t.Fatalf("exchange: %d %s", a.Status, a.Body)
	}
	plain, err := hpke.Open(wire.TypeRelease, wire.ReleaseInfo(wire.SealedHash(sealed)), a.Body, wire.MaxRelease)
	if err != nil {
		w.t.Fatal(err)
	}
	release, err := wire.ParseRelease(plain)
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := wire.ParseGrant(release.Grant, w.ServerKey())
	if err != nil {
		w.t.Fatal(err)
	}
	return g, release
}

// failure is the error of an encryption.
func (w *world) failure(c *client.Client) error {
	w.t.Helper()
	out, err := c.Encrypt(w.t.Context(), cards, plaintext, client.EncryptOptions{})
	if err == nil || out != nil {
		w.t.Fatalf("encrypt gave %d bytes and %v", len(out), err)
	}
	return err
}

// verify judges an archive and returns the kinds of its faults.
func verify(t *testing.T, o audit.VerifyOptions, archive []byte) []audit.FaultKind {
	t.Helper()
	report, err := audit.Verify(o, bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []audit.FaultKind
	for _, f := range report.Faults {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}
