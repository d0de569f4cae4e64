// SPDX-License-Identifier: Apache-2.0

package membus_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/relay/bustest"
	"claviger/internal/relay/membus"
	"claviger/internal/wire"
)

func TestBehind(t *testing.T) {
	bustest.Run(t, func(*testing.T) (here, there bustest.Behind) {
		b := membus.New(bustest.Domains(), clock.System())
		return b, b
	})
}

// TestDomainShare: a domain that has filled its share leaves the others theirs.
func TestDomainShare(t *testing.T) {
	b := membus.New(bustest.Domains(), clock.System())
	p := relay.Parcel{Domain: bustest.Domains()[0], Expires: clock.System().Now().Add(time.Hour), Data: make([]byte, 1<<20)}
	quota := relay.Quota{Parcels: 1000, Bytes: 1 << 30}
	var err error
	for n := 0; err == nil; n++ {
		if n > 64 {
			t.Fatal("there is no end")
		}
		p.Mailbox = wire.Hash{byte(n + 1)}
		_, err = b.Add(t.Context(), p, quota)
	}
	if !errors.Is(err, relay.ErrQuota) {
		t.Errorf("when it is full: %v", err)
	}
	p.Domain = bustest.Domains()[1]
	if _, err := b.Add(t.Context(), p, quota); err != nil {
		t.Errorf("another domain: %v", err)
	}
}

// TestFullQueue: a listener that hears nothing costs what is bounded, and keeps
// nobody else waiting.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(nil, clock.Process())
		held := make(chan struct{})
		var heard atomic.Int64
		stop, err := b.Listen("a", func(relay.Message) { <-held; heard.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10_000 {
			if err := b.Tell("a", fmt.Append(nil, n)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		stop() // once is enough, twice no harm
		if _, err := b.Ask(t.Context(), "a", nil); !errors.Is(err, relay.ErrNobody) {
			t.Errorf("after stop: %v", err)
		}
		close(held)
		synctest.Wait()
		if n := heard.Load(); n == 0 || n > 1000 {
			t.Errorf("%d messages waited", n)
		}
	})
}
