// SPDX-License-Identifier: Apache-2.0

package leases

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"claviger/envelope"
	"claviger/internal/secret"
)

func newLease(t *testing.T) *Lease {
	t.Helper()
	key, err := envelope.NewLeafKey(envelope.Ref{Domain: [32]byte{1}, Version: 1}, secret.Random(32).Expose())
	if err != nil {
		t.Fatal(err)
	}
	return New(Terms{}, key)
}

func yes(*Lease) bool { return true }
func no(*Lease) bool  { return false }

func TestGetKeepsAndJudges(t *testing.T) {
	c, ctx := NewCache(1<<20), t.Context()
	fetched := 0
	fetch := func() (*Lease, error) { fetched++; return newLease(t), nil }
	first, err := c.Get(ctx, Ask{Name: "k"}, yes, fetch)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Get(ctx, Ask{Name: "k"}, yes, fetch); again != first || err != nil || fetched != 1 {
		t.Errorf("fetched %d times, %v", fetched, err)
	}
	second, err := c.Get(ctx, Ask{Name: "k"}, no, fetch)
	if err != nil || second == first || fetched != 2 || c.Len() != 1 {
		t.Errorf("a lease that doesn't count was kept: %d fetched, %v", fetched, err)
	}
	if err := first.Use(func(*envelope.LeafKey) error { return nil }); !errors.Is(err, ErrGone) {
		t.Errorf("Use of a replaced lease = %v", err)
	}
	for _, ask := range []Ask{{Name: "k", Version: 1}, {Name: "k", Partition: "p"}, {Name: "k", Hidden: true}, {Name: "k", Operations: "x"}, {ID: [16]byte{1}}} {
		if l, err := c.Get(ctx, ask, yes, fetch); err != nil || l == second {
			t.Errorf("%+v got another ask's lease, %v", ask, err)
		}
	}
}

func TestFailedFetchKeepsLease(t *testing.T) {
	c, ctx := NewCache(1<<20), t.Context()
	l := newLease(t)
	c.Put(Ask{Name: "k"}, l)
	broken := errors.New("broken")
	if _, err := c.Get(ctx, Ask{Name: "k"}, no, func() (*Lease, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("Get = %v", err)
	}
	if c.Peek(Ask{Name: "k"}) != l {
		t.Error("a failed fetch dropped the lease")
	}
}

// TestDropWaitsForUser: a key is not wiped under who uses it, and is wiped then.
func TestDropWaitsForUser(t *testing.T) {
	l := newLease(t)
	err := l.Use(func(k *envelope.LeafKey) error {
		l.Drop()
		l.Drop()
		_, err := k.SealField([]byte("x"), nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Use(func(*envelope.LeafKey) error { return nil }); !errors.Is(err, ErrGone) {
		t.Errorf("Use after Drop = %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("the key was not wiped")
		}
	}()
	_, _ = l.key.SealField([]byte("x"), nil)
}

func TestBound(t *testing.T) {
	c := NewCache(3 * size)
	all := make([]*Lease, 5)
	for i := range all {
		all[i] = newLease(t)
		c.Put(Ask{Name: fmt.Sprint(i)}, all[i])
		c.Peek(Ask{Name: "0"}) // used: stays
	}
	if c.Len() != 3 || c.Peek(Ask{Name: "0"}) == nil || c.Peek(Ask{Name: "1"}) != nil || c.Peek(Ask{Name: "4"}) == nil {
		t.Errorf("%d kept, and not the ones used last", c.Len())
	}
	if err := all[1].Use(func(*envelope.LeafKey) error { return nil }); !errors.Is(err, ErrGone) {
		t.Errorf("an evicted lease is usable: %v", err)
	}
	if tiny := NewCache(-1); tiny.limit != 1 {
		t.Errorf("limit %d", tiny.limit)
	}
}

func TestDropIfAndClose(t *testing.T) {
	c := NewCache(1 << 20)
	for i := range 4 {
		c.Put(Ask{Version: uint64(i + 1)}, newLease(t))
	}
	second := c.Peek(Ask{Version: 2})
	if n := c.DropIf(func(l *Lease) bool { return l == second }); n != 1 || c.Len() != 3 {
		t.Errorf("dropped %d", n)
	}
	c.Drop(Ask{Version: 1})
	c.Drop(Ask{Version: 99})
	if c.Len() != 2 {
		t.Errorf("%d left", c.Len())
	}
	c.Close()
	late := newLease(t)
	c.Put(Ask{Version: 7}, late)
	if c.Len() != 0 || late.Use(func(*envelope.LeafKey) error { return nil }) == nil {
		t.Error("a closed cache keeps a key")
	}
	if _, err := c.Get(t.Context(), Ask{}, yes, func() (*Lease, error) { return newLease(t), nil }); !errors.Is(err, ErrGone) {
		t.Errorf("Get = %v", err)
	}
}

// TestSingleFlight: one fetch for all who ask meanwhile; one who gives up takes
// nobody along.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		var fetched atomic.Int64
		go func() {
			_, err := c.Get(ctx, Ask{}, yes, func() (*Lease, error) {
				fetched.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the leader: %v", err)
			}
		}()
		synctest.Wait()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if _, err := c.Get(t.Context(), Ask{}, yes, func() (*Lease, error) { fetched.Add(1); return newLease(t), nil }); err != nil {
					t.Errorf("a follower: %v", err)
				}
			})
		}
		impatient, stop := context.WithCancel(t.Context())
		group.Go(func() {
			if _, err := c.Get(impatient, Ask{}, yes, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("the impatient one: %v", err)
			}
		})
		synctest.Wait()
		if n := fetched.Load(); n != 1 {
			t.Errorf("%d fetches at once", n)
		}
		stop()
		synctest.Wait()
		cancel()
		group.Wait()
		if n := fetched.Load(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestSlowServerIsWaitedForOnce: a fetch that ran into a deadline of its own is
// nothing for each waiter to try again.
func TestSlowServerIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1 << 20)
		var fetched atomic.Int64
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				_, err := c.Get(t.Context(), Ask{}, yes, func() (*Lease, error) {
					fetched.Add(1)
					time.Sleep(15 * time.Second)
					return nil, context.DeadlineExceeded
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Get = %v", err)
				}
			})
		}
		group.Wait()
		if n := fetched.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestPanickingFetch leaves no waiter behind.
func TestPanickingFetch(t *testing.T) {
	c := NewCache(1 << 20)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Get(t.Context(), Ask{}, yes, func() (*Lease, error) { panic("broken") })
	}()
	if _, err := c.Get(t.Context(), Ask{}, yes, func() (*Lease, error) { return newLease(t), nil }); err != nil {
		t.Error(err)
	}
}
