// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// delivery edits what the relay hands to a server.
func delivery(edit func(*wire.Delivery)) hostile.Frames {
	return func(frame []byte) [][]byte {
		d, err := wire.ParseDelivery(frame)
		if err != nil {
			return [][]byte{frame}
		}
		edit(d)
		return [][]byte{wire.Marshal(*d)}
	}
}

// gone takes a message and passes nothing on.
func gone(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
	return testkit.Answer{Status: http.StatusNoContent}
}

// tricks are what a relay may do to messages as a whole, on the server's side of it.
// None of them but the harmless ones has to end well.
func tricks() map[string]struct {
	set      func(x *hostile.Relay)
	harmless bool
} {
	type trick = struct {
		set      func(x *hostile.Relay)
		harmless bool
	}
	frames := func(f hostile.Frames) func(*hostile.Relay) {
		return func(x *hostile.Relay) { x.Frames(hostile.Receive, f) }
	}
	answers := func(s hostile.Script) func(*hostile.Relay) {
		return func(x *hostile.Relay) { x.On(hostile.Answer, s) }
	}
	var mu sync.Mutex
	var held, old [][]byte
	var path string
	return map[string]trick{
		"requests dropped":    {set: frames(func([]byte) [][]byte { return nil })},
		"requests twice":      {set: frames(func(f []byte) [][]byte { return [][]byte{f, f} }), harmless: true},
		"a request's bit":     {set: frames(delivery(func(d *wire.Delivery) { d.Data[len(d.Data)/2] ^= 1 }))},
		"a request cut":       {set: frames(delivery(func(d *wire.Delivery) { d.Data = d.Data[:len(d.Data)/2] }))},
		"another correlation": {set: frames(delivery(func(d *wire.Delivery) { d.Correlation[0] ^= 1 }))},
		"requests in another order": {set: frames(func(f []byte) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			if held = append(held, f); len(held) < 2 {
				return nil
			}
			out := [][]byte{held[1], held[0]}
			held = nil
			return out
		})},
		"old requests again": {set: frames(func(f []byte) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			old = append(old, f)
			return old[max(0, len(old)-4):]
		}), harmless: true},
		"answers dropped": {set: answers(gone)},
		"answers twice": {harmless: true, set: answers(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
			a := forward(m)
			forward(m)
			return a
		})},
		"an answer's bit": {set: answers(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
			m.Body = bytes.Clone(m.Body)
			m.Body[len(m.Body)/2] ^= 1
			return forward(m)
		})},
		"answers crossed": {set: answers(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
			mu.Lock()
			other := path
			path = m.Path
			mu.Unlock()
			if other != "" {
				m.Path = other
			}
			return forward(m)
		})},
		"trouble for answers": {set: answers(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
			m.Body = wire.Marshal(wire.Trouble{Type: wire.TypeTrouble, Status: 403, Code: "denied", Message: "the client is revoked"})
			return forward(m)
		})},
		"boards not written": {harmless: true, set: func(x *hostile.Relay) {
			for _, route := range []string{hostile.PutIntroduction, hostile.PutStatement, hostile.PutTokens} {
				x.On(route, gone)
			}
		}},
		"statements dropped": {harmless: true, set: func(x *hostile.Relay) { x.Frames(hostile.Follow, func([]byte) [][]byte { return nil }) }},
		"statements twice, and their bits": {harmless: true, set: func(x *hostile.Relay) {
			x.Frames(hostile.Follow, func(f []byte) [][]byte {
				bad := bytes.Clone(f)
				bad[len(bad)/2] ^= 1
				return [][]byte{f, bad, f[:len(f)/2], f}
			})
		}},
	}
}

// TestWholeMessages is scenario 61 of messages as a whole: dropped, doubled, reordered, crossed, changed
// between relay and server. What comes of it is an error or the right key, and all is
// well again with an honest relay.
func TestWholeMessages(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	honest := w.Dial(w.app1)
	w.opens(honest, w.seal(honest, cards), cards)
	w.opens(honest, w.seal(honest, orders), orders)
	for name, trick := range tricks() {
		trick.set(w.relay)
		patience := time.Second
		if trick.harmless {
			patience = time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c := w.Dial(w.app1)
		var all sync.WaitGroup
		for _, key := range []string{cards, orders} {
			all.Go(func() {
				out, err := c.Encrypt(ctx, key, plaintext, client.EncryptOptions{})
				if err == nil {
					if got, _, err := honest.Decrypt(t.Context(), out, client.DecryptOptions{Keys: []string{key}}); err != nil || !bytes.Equal(got, plaintext) {
						t.Errorf("%s: another key: %v", name, err)
					}
					return
				}
				if trick.harmless || isDenied(err) || errors.Is(err, client.ErrRevoked) || len(out) != 0 {
					t.Errorf("%s: %d bytes, %v", name, len(out), err)
				}
			})
		}
		all.Wait()
		cancel()
		w.relay.Honest()
		w.Await()
		after := w.Dial(w.app1)
		w.opens(after, w.seal(after, cards), cards)
	}
	for _, l := range w.Leaves() {
		if strings.Contains(l.Reason, "revoked") || l.Decision == wire.DecisionDenied {
			t.Errorf("a leaf says %s %s", l.Decision, l.Reason)
		}
	}
}
