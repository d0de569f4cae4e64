// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/clock"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// damage is what the relay does to one message at one of its bytes.
type damage struct {
	name string
	do   func(message []byte, at int) []byte
}

var damages = []damage{
	{"flipped", func(m []byte, at int) []byte { m = bytes.Clone(m); m[at] ^= 1 << (at % 8); return m }},
	{"cut", func(m []byte, at int) []byte { return m[:at] }},
}

// leg is one message of a conversation, and how often its damage is told: the whole
// of it, and never again.
type leg struct {
	route    string
	question bool // what the client sends; else what it gets
}

var conversation = []leg{{hostile.Introductions, false}, {hostile.Exchange, true}, {hostile.Exchange, false}}

// spoil has a relay damage one message of a leg at a byte.
func spoil(x *hostile.Relay, l leg, d damage, at int, done *atomic.Int64) {
	x.On(l.route, func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		if l.question {
			if at < len(m.Body) {
				m.Body = d.do(m.Body, at)
				done.Add(1)
			}
			return forward(m)
		}
		a := forward(m)
		if a.Status == http.StatusOK && at < len(a.Body) {
			a.Body = d.do(a.Body, at)
			done.Add(1)
		}
		return a
	})
}

// Scenario 61: every message of a whole conversation, damaged at every byte: one bit
// flipped, and cut there. What comes of it is an error or the right key.
func TestScenario61_EveryByte(t *testing.T) {
	const hands = 4
	w := &world{t: t, clock: clock.NewManual(start)}
	o := testkit.Options{Clock: running{w.clock, clock.System(), clock.System().Boot()}}
	var relays []*hostile.Relay
	o.Relays = func(domain wire.DomainID) (all []string) {
		for range hands {
			x := hostile.New(t, hostile.Options{Clock: o.Clock}, domain)
			relays, all = append(relays, x), append(all, x.Address)
		}
		return all
	}
	w.found(o)
	honest := w.Dial(w.app1, relays[0].Address)
	w.opens(honest, w.seal(honest, cards), cards)
	sizes := map[leg]int{}
	for _, l := range conversation {
		for _, p := range relays[0].Seen(l.route) {
			body := p.Answer
			if l.question {
				body = p.Question
			}
			sizes[l] = max(sizes[l], len(body))
		}
		if sizes[l] < 500 {
			t.Fatalf("%+v has %d bytes", l, sizes[l])
		}
	}
	stride, first := 1, 0
	if racing {
		stride = 41
		first = mathrand.IntN(stride) // in time, every byte has had its turn
	}
	var told, survived atomic.Int64
	var all sync.WaitGroup
	for hand, x := range relays {
		all.Go(func() {
			var c *client.Client // nil: another one has to be opened
			for _, l := range conversation {
				for _, d := range damages {
					for at := first + hand*stride; at < sizes[l]; at += hands * stride {
						spoil(x, l, d, at, &told)
						if c == nil {
							if c = w.fleeting(x.Address); c == nil {
								return
							}
						}
						well := w.survives(c, fmt.Sprintf("%+v %s at %d", l, d.name, at), honest)
						x.Honest()
						if well {
							survived.Add(1)
						}
						if well || l.route == hostile.Introductions { // else what it has learned would serve
							c.Close()
							c = nil
						}
					}
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	began := clock.System().Boot()
	all.Wait()
	for l, size := range sizes {
		t.Logf("%+v: %d bytes", l, size)
	}
	total := 0
	for _, l := range conversation {
		total += 2 * sizes[l] / stride
	}
	t.Logf("%d bytes of %d messages, %d damaged, %d recovered from, in %v", total/2, len(conversation), told.Load(), survived.Load(), (clock.System().Boot() - began).Round(time.Millisecond))
	if int(told.Load()) < total*8/10 {
		t.Errorf("only %d of %d messages were damaged", told.Load(), total)
	}
	w.everyStatementByte(relays[0], stride)
	for _, x := range relays {
		x.Honest()
		c := w.Dial(w.app1, x.Address)
		w.opens(c, w.seal(c, cards), cards)
	}
	if n := w.Decisions(wire.DecisionDenied, appOne, cards); n != 0 {
		t.Errorf("%d requests were denied", n)
	}
}

// everyStatementByte damages the news: none of it is believed.
func (w *world) everyStatementByte(x *hostile.Relay, stride int) {
	w.t.Helper()
	c := w.Dial(w.app1, x.Address)
	w.seal(c, cards)
	if err := c.Refresh(w.t.Context()); err != nil {
		w.t.Fatalf("the statement as it is: %v", err)
	}
	size := len(last(x, hostile.Statements))
	var told atomic.Int64
	for _, d := range damages {
		for at := 0; at < size; at += stride {
			spoil(x, leg{hostile.Statements, false}, d, at, &told)
			if err := c.Refresh(w.t.Context()); err == nil {
				w.t.Errorf("a statement %s at %d was believed", d.name, at)
			}
		}
	}
	x.Honest()
	if err := c.Refresh(w.t.Context()); err != nil || int(told.Load()) < 2*size/stride {
		w.t.Errorf("afterwards: %v; %d of %d were damaged", err, told.Load(), 2*size/stride)
	}
}

// survives encrypts while a relay does harm, and reports whether it went well all
// the same. Then the key was the right one, and else the error was no fact.
func (w *world) survives(c *client.Client, what string, honest *client.Client) bool {
	out, err := c.Encrypt(w.t.Context(), cards, plaintext, client.EncryptOptions{})
	if err == nil {
		if got, _, err := honest.Decrypt(w.t.Context(), out, client.DecryptOptions{Keys: []string{cards}}); err != nil || !bytes.Equal(got, plaintext) {
			w.t.Errorf("%s: another key: %v", what, err)
		}
		return true
	}
	if _, denied := errors.AsType[*client.DeniedError](err); denied || len(out) != 0 ||
		!errors.Is(err, client.ErrIntegrity) && !errors.Is(err, client.ErrUnavailable) {
		w.t.Errorf("%s: %d bytes, %v", what, len(out), err)
	}
	return false
}

// fleeting opens app1's profile; the caller closes it. nil: it failed, and so does
// the test.
func (w *world) fleeting(address string) *client.Client {
	at := *w.app1
	at.Addresses = []string{address}
	c, err := client.Dial(w.t.Context(), &at, client.Options{Clock: w.Clock(), Timeout: 10 * time.Second})
	if err != nil {
		w.t.Error(err)
	}
	return c
}
