// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"testing"
)

// Recycled memory must never let a handle that was wiped reach the secret that
// came after it.
func TestWipedHandlesMeetNobody(t *testing.T) {
	for range 100 { // the race detector makes pools forget now and then
		old := Take([]byte("the first secret"))
		old.Wipe()
		next := Take([]byte("the second one.."))
		mustPanic(t, "Expose", "after Wipe", func() { old.Expose() })
		old.Wipe() // must not wipe what is next's by now
		if string(next.Expose()) != "the second one.." {
			t.Fatal("wiping twice wiped another secret")
		}
		next.Wipe()
	}
}

func TestWipedAEADsMeetNobody(t *testing.T) {
	nonce := make([]byte, NonceSize)
	for range 100 {
		old, err := NewAEAD(Random(KeySize))
		if err != nil {
			t.Fatal(err)
		}
		state := old.home.cell.block.bytes()
		old.Wipe()
		if !bytes.Equal(state, make([]byte, len(state))) {
			t.Fatal("a wiped AEAD's state is still there")
		}
		raw := randomBytes(KeySize)
		next, err := NewBriefAEAD(take(raw))
		if err != nil {
			t.Fatal(err)
		}
		mustPanic(t, "Seal", "after Wipe", func() { old.Seal(nil, nonce, nil, nil) })
		old.Wipe()
		if !bytes.Equal(next.Seal(nil, nonce, nonce, nil), stdGCM(t, raw).Seal(nil, nonce, nonce, nil)) {
			t.Fatal("wiping twice wiped another key's state")
		}
		next.Wipe()
	}
}

// Unlocked memory isn't kept for reuse, else it would be used before locked
// memory that has become free.
func TestUnlockedCellsGoBack(t *testing.T) {
	for _, n := range []int{32, 768} {
		c := &cell{block: memory().alloc(n)}
		c.block.level = levelNone
		h := &home{cell: c}
		view, before := c.block.bytes(), memory().snapshot().inUse
		view[0] = 1
		if n == 32 {
			c.end()
		} else {
			h.leave()
		}
		if got := memory().snapshot().inUse; got != before-n {
			t.Errorf("%d bytes in use went from %d to %d", n, before, got)
		}
		if view[0] != 0 {
			t.Error("given back unwiped")
		}
	}
}

func TestBriefAEAD(t *testing.T) {
	raw, nonce, text := randomBytes(KeySize), randomBytes(NonceSize), randomBytes(100)
	a, err := NewBriefAEAD(take(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Wipe()
	if !bytes.Equal(a.Seal(nil, nonce, text, nonce), stdGCM(t, raw).Seal(nil, nonce, text, nonce)) {
		t.Error("Seal differs from the standard library's")
	}
	if a.home == nil {
		t.Error("the state isn't in protected memory")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewBriefAEAD(New(n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}
