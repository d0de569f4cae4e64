// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

var errPower = errors.New("power lost")

// run of one life of the log on a disk that loses power at some operation:
// what was acknowledged in it.
type life struct {
	mu    sync.Mutex
	acked map[Position]wire.Hash // position → request of the leaf
	signs []Checkpoint
}

func (f *life) work(l *Log, from int) {
	var group sync.WaitGroup
	for w := range 3 {
		group.Go(func() {
			for i := range 12 {
				leaf := testLeaf(from + w*100 + i)
				if hash, err := l.Blob(fmt.Appendf(nil, "attributes %d", i%4)); err == nil {
					leaf.Attributes = []wire.Hash{hash}
				}
				at, ticket, err := l.Enter(leaf)
				if err != nil || ticket.Wait(context.Background()) != nil {
					return
				}
				f.mu.Lock()
				f.acked[at] = leaf.Request
				f.mu.Unlock()
				if i%5 == w {
					if c, err := l.Checkpoint(); err == nil {
						f.mu.Lock()
						f.signs = append(f.signs, c)
						f.mu.Unlock()
					}
				}
			}
		})
	}
	group.Wait()
}

// TestCrash loses power at random operations, many times over, and checks after
// each recovery that every acknowledged leaf is where it was, with its blobs,
// that every checkpoint ever signed still holds, and that no log was given up:
// a crash alone is no damage.
func TestCrash(t *testing.T) {
	const disks, lives = 150, 4
	torn := 0
	for disk := range uint64(disks) {
		rng := rand.New(rand.NewPCG(disk, 2))
		mem := faultfs.New(disk)
		f := &life{acked: map[Position]wire.Hash{}}
		for n := range lives {
			until := mem.Ops() + rng.IntN(220)
			mem.SetFault(func(op faultfs.Op) error {
				if op.N >= until {
					return errPower
				}
				return nil
			})
			o := testOptions(memFS{mem})
			o.MaxBytes = 8 << 10
			if l, err := Open(o); err == nil {
				if l.opening.GivenUp != "" {
					t.Fatalf("disk %d: %s", disk, l.opening.GivenUp)
				}
				if l.opening.Cut > 0 {
					torn++
				}
				f.work(l, int(disk)*10000+n*1000)
				_ = l.Close() // the power is gone
			} else if !errors.Is(err, errPower) {
				t.Fatalf("disk %d: %v", disk, err)
			}
			mem = mem.Crash(rng.Uint64())
		}
		checkLife(t, disk, memFS{mem}, f)
	}
	if torn == 0 {
		t.Error("no crash tore a tail: the test tests nothing")
	}
}

func checkLife(t *testing.T, disk uint64, fsys FS, f *life) {
	t.Helper()
	o := testOptions(fsys)
	l := mustOpen(t, o)
	defer mustClose(t, l)
	if l.opening.GivenUp != "" {
		t.Fatalf("disk %d: %s", disk, l.opening.GivenUp)
	}
	found := map[Position]*Leaf{}
	roots := map[Position]wire.Hash{}
	numbers, err := l.Numbers()
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range numbers {
		var tr tree
		for _, e := range all(t, l, number) {
			found[e.Position] = e.Leaf
			body, err := e.Leaf.encode()
			if err != nil {
				t.Fatal(err)
			}
			tr.append(leafHash(body))
			roots[Position{Log: number, Index: tr.size}] = tr.root()
		}
	}
	for at, request := range f.acked {
		leaf := found[at]
		if leaf == nil || leaf.Request != request {
			t.Fatalf("disk %d: acknowledged leaf %s is lost", disk, at)
		}
		for _, h := range leaf.Attributes {
			if _, err := l.ReadBlob(h); err != nil {
				t.Fatalf("disk %d: %v", disk, err)
			}
		}
	}
	for _, c := range f.signs {
		if roots[Position{Log: c.Log, Index: c.Size}] != c.Root {
			t.Fatalf("disk %d: log %d no longer extends its checkpoint of %d", disk, c.Log, c.Size)
		}
	}
}

// failing opens a log whose file system fails operations of one kind once
// armed.
func failing(t *testing.T, kind faultfs.Kind, cause error) (*Log, memFS, *atomic.Bool) {
	t.Helper()
	fsys := newMem(11)
	l := mustOpen(t, testOptions(fsys))
	var armed atomic.Bool
	fsys.SetFault(func(op faultfs.Op) error {
		if armed.Load() && op.Kind == kind {
			return cause
		}
		return nil
	})
	return l, fsys, &armed
}

// TestFailsClosed is attack scenario 71: the disk is full, broken or read-only.
func TestFailsClosed(t *testing.T) {
	for _, c := range []struct {
		kind  faultfs.Kind
		cause error
	}{
		{faultfs.Write, syscall.ENOSPC}, {faultfs.Write, syscall.EROFS}, {faultfs.Sync, syscall.EIO},
	} {
		t.Run(fmt.Sprint(c.kind, c.cause), func(t *testing.T) {
			l, fsys, armed := failing(t, c.kind, c.cause)
			before := put(t, l, testLeaf(1))
			armed.Store(true)
			_, ticket, err := l.Enter(testLeaf(2))
			if err != nil {
				t.Fatal(err)
			}
			if err := ticket.Wait(context.Background()); !errors.Is(err, ErrStopped) || !errors.Is(err, c.cause) {
				t.Errorf("wait: %v", err)
			}
			// The disk works again, but the log stays stopped: what a failed
			// sync lost is unknown.
			armed.Store(false)
			syncs := fsys.Ops()
			if _, _, err := l.Enter(testLeaf(3)); !errors.Is(err, ErrStopped) {
				t.Errorf("enter: %v", err)
			}
			if _, err := l.Blob([]byte("x")); !errors.Is(err, ErrStopped) {
				t.Errorf("blob: %v", err)
			}
			if _, err := l.Checkpoint(); !errors.Is(err, ErrStopped) {
				t.Errorf("checkpoint: %v", err)
			}
			if err := l.Healthy(); !errors.Is(err, c.cause) {
				t.Errorf("healthy: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrStopped) {
				t.Errorf("close: %v", err)
			}
			if fsys.Ops() != syncs {
				t.Error("the stopped log touched the disk")
			}
			l = mustOpen(t, testOptions(fsys))
			if l.opening.GivenUp != "" {
				t.Errorf("given up: %s", l.opening.GivenUp)
			}
			if at := put(t, l, testLeaf(4)); at.Index <= before.Index {
				t.Errorf("position %s again", at)
			}
			mustClose(t, l)
		})
	}
}

// TestFailedSyncThenPower: after a failed sync the kernel shows a batch that
// the disk doesn't have. Recovery must write it again, or what is acknowledged
// after it stands behind a hole.
func TestFailedSyncThenPower(t *testing.T) {
	for seed := range uint64(40) {
		l, fsys, armed := failing(t, faultfs.Sync, syscall.EIO)
		put(t, l, testLeaf(1))
		armed.Store(true)
		_, ticket, err := l.Enter(testLeaf(2))
		if err != nil || ticket.Wait(context.Background()) == nil {
			t.Fatal("the sync didn't fail")
		}
		_ = l.Close()
		armed.Store(false)
		l = mustOpen(t, testOptions(fsys))
		at := put(t, l, testLeaf(3))
		after := memFS{fsys.Crash(seed)}
		l = mustOpen(t, testOptions(after))
		entries := all(t, l, at.Log)
		if l.opening.GivenUp != "" || uint64(len(entries)) <= at.Index || entries[at.Index].Leaf.Request != testLeaf(3).Request {
			t.Fatalf("seed %d: acknowledged leaf %s is lost (%s)", seed, at, l.opening.GivenUp)
		}
		mustClose(t, l)
	}
}

// TestOpenFails: a log that can't be written doesn't open.
func TestOpenFails(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.Write, faultfs.Sync, faultfs.Mkdir, faultfs.SyncDir, faultfs.List, faultfs.Lock, faultfs.Open} {
		fsys := newMem(12)
		fsys.SetFault(func(op faultfs.Op) error {
			if op.Kind == kind {
				return syscall.EROFS
			}
			return nil
		})
		if _, err := Open(testOptions(fsys)); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, kind := range []faultfs.Kind{faultfs.Write, faultfs.Sync, faultfs.Truncate, faultfs.Read} {
		fsys := newMem(13)
		mustClose(t, mustOpen(t, testOptions(fsys)))
		fsys.SetFault(func(op faultfs.Op) error {
			if op.Kind == kind {
				return syscall.EIO
			}
			return nil
		})
		if _, err := Open(testOptions(fsys)); !errors.Is(err, syscall.EIO) {
			t.Errorf("again, %s: %v", kind, err)
		}
	}
}

// TestSlowDisk: Wait honours its context, the backlog is bounded, and when the
// disk comes back everything that was entered becomes durable.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := newMem(14)
		o := testOptions(fsys)
		o.MaxBacklog = 4 << 10
		l := mustOpen(t, o)
		hold := make(chan struct{})
		fsys.SetFault(func(op faultfs.Op) error {
			if op.Kind == faultfs.Sync {
				<-hold
			}
			return nil
		})
		_, ticket, err := l.Enter(testLeaf(1))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ticket.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		entered := 1
		for ; ; entered++ {
			_, _, err := l.Enter(testLeaf(1 + entered))
			if errors.Is(err, ErrBusy) {
				break
			}
			if err != nil || entered > 100 {
				t.Fatalf("after %d: %v", entered, err)
			}
		}
		close(hold)
		if err := ticket.Wait(t.Context()); err != nil {
			t.Errorf("wait again: %v", err)
		}
		synctest.Wait()
		put(t, l, testLeaf(500))
		if n := len(all(t, l, 1)); n != entered+2 {
			t.Errorf("%d leaves of %d", n, entered+2)
		}
		mustClose(t, l)
	})
}
