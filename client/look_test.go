// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"testing"
	"time"

	"claviger/internal/testkit/fakeserver"
)

// TestLook: what is said of freshness is what decides whether a key is used.
func TestLook(t *testing.T) {
	w := newWorld(t)
	if f := w.client.Freshness(); f.Stated || f.Way != "" || f.Server != "" || len(f.Keys) != 0 || f.Epoch != w.client.Epoch() {
		t.Errorf("before anything was asked: %+v", f)
	}
	other := w.domain.AddKey("payments/other")
	w.domain.Set(other, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
	f, denied, err := w.client.Look(t.Context(), "payments/cards", "payments/other")
	if err != nil || len(denied) != 1 || denied[0].Key != "payments/other" || len(f.Keys) != 1 {
		t.Fatalf("Look = %+v, %v, %v", f, denied, err)
	}
	want := KeyFreshness{
		Key: "payments/cards", ID: w.key.ID.String(), Version: 1, State: "active", Operation: "encrypt", Epoch: f.Epoch,
		Server: w.server.ID().String(), Lease: time.Hour, Staleness: 15 * time.Minute,
	}
	same := func(a, b KeyFreshness) bool {
		a.Partition, b.Partition = nil, nil
		return a.Key == b.Key && a.ID == b.ID && a.Version == b.Version && a.State == b.State && a.Operation == b.Operation &&
			a.Epoch == b.Epoch && a.Server == b.Server && a.Ahead == b.Ahead && a.Lease == b.Lease && a.Staleness == b.Staleness
	}
	if !same(f.Keys[0], want) || !f.Stated || f.Statement != 0 || f.Way != "fake" || f.Server != want.Server || f.ServerName != "one" {
		t.Errorf("%+v", f)
	}
	w.cut()
	w.advance(10 * time.Minute)
	f = w.client.Freshness()
	want.Lease, want.Staleness = 50*time.Minute, 5*time.Minute
	if !same(f.Keys[0], want) || f.Statement != 10*time.Minute {
		t.Errorf("ten minutes later: %+v", f)
	}
	w.advance(5 * time.Minute)
	if f = w.client.Freshness(); len(f.Keys) != 1 || f.Keys[0].Staleness != 0 {
		t.Errorf("at the staleness bound: %+v", f)
	}
	if _, _, err := w.client.Look(t.Context(), "payments/cards"); !errors.Is(err, ErrStale) {
		t.Errorf("Look there = %v", err)
	}
	w.advance(45 * time.Minute)
	if f = w.client.Freshness(); len(f.Keys) != 0 {
		t.Errorf("at the lease's end: %+v", f)
	}
	if got := w.client.Known(); len(got) != 1 || got[0] != "payments/cards" {
		t.Errorf("Known = %v", got)
	}
	if _, _, err := w.client.Look(t.Context(), "no//name"); err == nil {
		t.Error("a malformed name is asked for")
	}
}
