// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"claviger/internal/store"
	"claviger/internal/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMem() })
}

// TestFollowSleeps shows that a follower waits without polling: in the bubble,
// time would move if it slept on a timer.
func TestFollowSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMem()
		got := make(chan store.Record)
		go func() {
			for record, err := range s.Read(t.Context(), 1, true) {
				if err != nil {
					close(got)
					return
				}
				got <- record
			}
		}()
		synctest.Wait() // durably blocked: nothing but the notifier can wake it
		if err := s.Append(t.Context(), 0, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if record := <-got; record.Index != 1 {
			t.Errorf("follower got %d", record.Index)
		}
		s.Close()
		if _, open := <-got; open {
			t.Error("follower outlived the store")
		}
	})
}

func TestNotifier(t *testing.T) {
	var n store.Notifier
	before := n.Changed()
	if before != n.Changed() {
		t.Error("two waiters got different channels")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Wait(ctx, before); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
	n.Wake()
	if err := store.Wait(t.Context(), before); err != nil {
		t.Error(err)
	}
	waiting := n.Changed()
	n.Close()
	n.Wake()
	n.Close()
	for _, changed := range []<-chan struct{}{waiting, n.Changed()} {
		if err := store.Wait(t.Context(), changed); err != nil {
			t.Error(err)
		}
	}
}
