// SPDX-License-Identifier: Apache-2.0

package client

import (
	"testing"
	"time"

	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// TestServerClockCorrected: a server whose clock is wrong gives a certificate, and
// when it is set right while the client runs, it can be asked again.
func TestServerClockCorrected(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -10 * time.Minute, 30 * time.Hour} {
		w := newWorld(t)
		w.remote.SetWall(start.Add(off))
		w.profile = w.enrol("app")
		w.client = w.dial()
		sealed := w.seal("4111")
		w.remote.SetWall(start)
		w.server.Restart() // with a descriptor of the right time
		w.advance(time.Minute)
		if err := w.open(sealed); err != nil {
			t.Errorf("off by %v: %v", off, err)
		}
		if err := w.client.Refresh(t.Context()); err != nil {
			t.Errorf("off by %v: Refresh: %v", off, err)
		}
	}
}

// TestOneServersClockIsNotAnothers: what one server says of the time keeps no
// client from asking the others.
func TestOneServersClockIsNotAnothers(t *testing.T) {
	for name, issued := range map[string]int64{
		"far ahead": start.AddDate(100, 0, 0).UnixMilli(), "the last there is": wire.MaxTime, "the first": 1,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			two := w.domain.Server("two")
			w.server.Lie.Grant = func(g *wire.Grant) { g.Issued = issued }
			sealed := w.seal("4111")
			w.server.Lie = fakeserver.Lies{}
			w.server.Refuse(errDown)
			reroute(w.client, w.client.net.Order()[0], wayTo(two))
			if err := w.open(sealed); err != nil {
				t.Errorf("Decrypt at the second server: %v", err)
			}
			if err := w.client.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh at the second server: %v", err)
			}
		})
	}
}
