// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"
)

// fakeSystem maps the Go heap and grants limit bytes of "locked" memory.
type fakeSystem struct {
	limit    int
	strong   int // calls that were granted
	refused  int
	weak     int
	weakErr  error
	unmapped int
}

func (f *fakeSystem) arena() *arena {
	heap := func(n int) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(make([]byte, n))) }
	return newArena(mapper{
		strong: func(n int) (unsafe.Pointer, level, error) {
			if n > f.limit {
				f.refused++
				return nil, levelNone, errors.New("limit")
			}
			f.limit -= n
			f.strong++
			return heap(n), levelLocked, nil
		},
		weak: func(n int) (unsafe.Pointer, error) {
			f.weak++
			return heap(n), f.weakErr
		},
		unmap: func(p unsafe.Pointer, n int) { f.unmapped += n },
	})
}

func TestArenaFallsBackAndRecovers(t *testing.T) {
	f := &fakeSystem{limit: minChunk}
	a := f.arena()
	var blocks []*block
	for range minChunk / maxSlot {
		blocks = append(blocks, a.alloc(maxSlot))
	}
	if s := a.snapshot(); s.weakest != levelLocked || s.locked != minChunk || s.inUse != minChunk {
		t.Fatalf("before the limit: %+v", s)
	}
	over := a.alloc(32)
	if over.level != levelNone || a.snapshot().weakest != levelNone || a.snapshot().unlocked == 0 {
		t.Errorf("beyond the limit: level %v, %+v", over.level, a.snapshot())
	}
	asked := f.refused
	a.alloc(32)
	if f.refused != asked {
		t.Error("the system is asked again for every object after it refused")
	}
	a.release(blocks[0])
	if b := a.alloc(64); b.level != levelLocked {
		t.Error("freed locked memory isn't preferred")
	}
}

func TestArenaGrowsInSmallerChunksWhenLargeOnesAreRefused(t *testing.T) {
	f := &fakeSystem{limit: 4 * minChunk}
	a := f.arena()
	for a.snapshot().unlocked == 0 {
		a.alloc(maxSlot)
	}
	if s := a.snapshot(); s.locked != 4*minChunk {
		t.Errorf("%d of %d bytes of locked memory used", s.locked, 4*minChunk)
	}
}

func TestArenaOutOfMemory(t *testing.T) {
	for _, n := range []int{1, maxSlot + 1} {
		a := (&fakeSystem{weakErr: errors.New("none")}).arena()
		mustPanic(t, "alloc", "no memory", func() { a.alloc(n) })
		if !a.mu.TryLock() {
			t.Error("the panic left the lock behind")
		}
	}
}

func TestArenaDoubleRelease(t *testing.T) {
	a := (&fakeSystem{limit: 1 << 20}).arena()
	keep, b := a.alloc(32), a.alloc(32)
	a.release(b)
	mustPanic(t, "release", "twice", func() { a.release(b) })
	if got := a.alloc(32); got.addr == keep.addr {
		t.Error("a slot in use was handed out")
	}
}

func TestArenaLarge(t *testing.T) {
	f := &fakeSystem{limit: 1 << 20}
	a := f.arena()
	b := a.alloc(maxSlot + 1)
	if b.level != levelLocked || b.size < maxSlot+1 {
		t.Errorf("large block: %+v", b)
	}
	view := b.bytes()
	for i := range view {
		view[i] = 0xff
	}
	a.release(b)
	if f.unmapped != b.size || a.snapshot() != (stats{weakest: levelLocked}) {
		t.Errorf("after release: unmapped %d, %+v", f.unmapped, a.snapshot())
	}
	if !bytes.Equal(view, make([]byte, len(view))) {
		t.Error("a large block is unmapped unwiped")
	}
	if b := a.alloc(2 << 20); b.level != levelNone || a.snapshot().weakest != levelNone {
		t.Error("a large block beyond the limit doesn't fall back")
	}
}

// Random work on the arena against a list of what is out: blocks never
// overlap, keep their contents, and come zeroed.
func TestArenaRandom(t *testing.T) {
	f := &fakeSystem{limit: 256 << 10}
	a := f.arena()
	rng := rand.New(rand.NewPCG(1, 2))
	type held struct {
		b    *block
		mark byte
	}
	var out []held
	inUse := 0
	for i := range 20_000 {
		if len(out) > 0 && rng.IntN(100) < 48 {
			j := rng.IntN(len(out))
			h := out[j]
			if !bytes.Equal(h.b.bytes(), bytes.Repeat([]byte{h.mark}, h.b.size)) {
				t.Fatalf("step %d: a block of %d bytes was written over", i, h.b.size)
			}
			inUse -= h.b.size
			a.release(h.b)
			out[j] = out[len(out)-1]
			out = out[:len(out)-1]
			continue
		}
		n := 1 + rng.IntN([]int{32, 200, 1000, 5000}[rng.IntN(4)])
		b := a.alloc(n)
		if b.size < n || uintptr(b.addr)%32 != 0 {
			t.Fatalf("step %d: asked for %d, got %d at %p", i, n, b.size, b.addr)
		}
		view := b.bytes()
		if !bytes.Equal(view, make([]byte, len(view))) {
			t.Fatalf("step %d: a new block isn't zero", i)
		}
		h := held{b, byte(1 + rng.IntN(255))}
		for k := range view {
			view[k] = h.mark
		}
		inUse += b.size
		out = append(out, h)
		if got := a.snapshot().inUse; got != inUse {
			t.Fatalf("step %d: %d bytes in use by count, %d in fact", i, got, inUse)
		}
	}
	for _, h := range out {
		a.release(h.b)
	}
	mapped := a.snapshot()
	if mapped.inUse != 0 {
		t.Errorf("%d bytes in use at the end", mapped.inUse)
	}
	// Every page can be cut to any size again: nothing is lost to one class.
	for range (mapped.locked + mapped.unlocked) / maxSlot {
		a.alloc(maxSlot)
	}
	if s := a.snapshot(); s.locked != mapped.locked || s.unlocked != mapped.unlocked {
		t.Errorf("free pages weren't reused: %+v, then %+v", mapped, s)
	}
}

// Small objects share pages: 10,000 AEADs fit under the usual limit of 8 MiB.
func TestArenaPacks(t *testing.T) {
	f := &fakeSystem{limit: 8 << 20}
	a := f.arena()
	for range 10_000 {
		a.alloc(760)
	}
	if s := a.snapshot(); s.unlocked != 0 {
		t.Errorf("10,000 AES-GCM states don't fit into 8 MiB: %+v", s)
	}
}

func TestConcurrentUse(t *testing.T) {
	shared := Random(32)
	aead, err := NewAEAD(shared)
	if err != nil {
		t.Fatal(err)
	}
	mac := NewHMAC(shared)
	want, wantKey := mac.Sum([]byte("text")), Expand(shared, []byte("info"), 32)
	nonce := make([]byte, NonceSize)
	sealed := aead.Seal(nil, nonce, []byte("text"), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				c := shared.Clone()
				own, err := NewAEAD(c)
				if err != nil {
					t.Error(err)
					return
				}
				text, err := own.Open(nil, nonce, sealed, nil)
				k := Expand(c, []byte("info"), 32)
				if err != nil || string(text) != "text" || mac.Sum([]byte("text")) != want ||
					!k.Equal(wantKey) || !bytes.Equal(aead.Seal(nil, nonce, text, nil), sealed) {
					t.Error("wrong result under concurrency")
					return
				}
				k.Wipe()
				own.Wipe()
				c.Wipe()
			}
		})
	}
	wg.Wait()
}
