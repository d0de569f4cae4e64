// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"context"
	"testing"

	"claviger/client"
	"claviger/internal/keyserver"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// opensWith is the version of the key that a ciphertext opens with, for a client at
// the server's own port.
func (w *world) opensWith(ciphertext []byte) uint64 {
	w.t.Helper()
	got, opened, err := w.Dial(w.app1, w.Address).Decrypt(w.t.Context(), ciphertext, client.DecryptOptions{Keys: []string{cards}})
	if err != nil || !bytes.Equal(got, plaintext) {
		w.t.Fatalf("decrypt: %q, %v", got, err)
	}
	return opened.Version
}

// TestParcelsDamaged: releases ahead of need, of which the relay delivers damaged and
// foreign ones first, and each twice. What is whole counts, and nothing else.
func TestParcelsDamaged(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	c := w.Dial(w.app1)
	w.seal(c, cards)
	eventually(t, "a standing request", func() bool {
		n := 0
		err := w.Server.With(t.Context(), func(_ context.Context, core *keyserver.Core) error { n = core.Standing(); return nil })
		return err == nil && n == 1
	})
	foreign := last(w.relay, hostile.Exchange) // an answer to a request, in a parcel's place
	w.relay.On(hostile.Exchange, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return testkit.Answer{} })
	// Nothing but damage: the lease at hand serves on.
	parcels := func(make func(d *wire.Delivery) [][]byte) {
		w.relay.Frames(hostile.Receive, func(frame []byte) [][]byte {
			d, err := wire.ParseDelivery(frame)
			if err != nil || d.Number == 0 {
				return [][]byte{frame}
			}
			var out [][]byte
			for _, data := range make(d) {
				out = append(out, wire.Marshal(wire.Delivery{Number: d.Number, Data: data}))
			}
			return out
		})
	}
	flipped := func(data []byte) []byte { data = bytes.Clone(data); data[len(data)/2] ^= 1; return data }
	parcels(func(d *wire.Delivery) [][]byte { return [][]byte{flipped(d.Data), d.Data[:len(d.Data)/2], foreign} })
	w.Rotate(cards)
	delivered := func(n int) func() bool {
		return func() bool {
			seen := 0
			for _, p := range w.relay.Seen(hostile.Receive) {
				if d, err := wire.ParseDelivery(p.Answer); err == nil && d.Number > 0 {
					seen++
				}
			}
			return seen >= n
		}
	}
	eventually(t, "a parcel", delivered(1))
	if v := w.opensWith(w.seal(c, cards)); v != 1 {
		t.Errorf("with damaged parcels alone, version %d was used", v)
	}
	// Damage, then the whole one, twice, and the one before.
	var old []byte
	parcels(func(d *wire.Delivery) [][]byte {
		out := [][]byte{flipped(d.Data), foreign, d.Data, d.Data}
		if old != nil {
			out = append(out, old)
		}
		old = d.Data
		return out
	})
	w.Rotate(cards)
	eventually(t, "the next version", func() bool { return w.opensWith(w.seal(c, cards)) == 3 })
	w.relay.Honest()
	fresh := w.Dial(w.app1)
	if v := w.opensWith(w.seal(fresh, cards)); v != 3 {
		t.Errorf("version %d is current", v)
	}
	for _, l := range w.Leaves() {
		if l.Route == "standing" && (l.Caller != appOne || l.Decision != wire.DecisionAllowed) {
			t.Errorf("a leaf of standing delivery: %+v", l)
		}
	}
}
