// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// eventually collects garbage until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		runtime.GC()
		runtime.Gosched()
	}
	t.Errorf("%s: not within 2000 collections", what)
}

// makers make one dropped object each and return a view of its memory.
var makers = map[string]func() []byte{
	"Bytes": func() []byte {
		b := Random(64)
		return b.view()
	},
	"AEAD": func() []byte {
		a, err := NewAEAD(Random(KeySize))
		if err != nil {
			panic(err)
		}
		return a.home.cell.block.bytes()
	},
	"HMAC": func() []byte { return NewHMAC(Random(32)).state.view() },
	"hasher": func() []byte {
		h := newHasher(tested().layout)
		h.key(h.state, []byte("key"))
		return h.block.bytes()
	},
}

func TestDroppedIsWiped(t *testing.T) {
	for name, drop := range makers {
		view := drop()
		eventually(t, name, func() bool { return bytes.Equal(view, make([]byte, len(view))) })
	}
}

// Wipe and the collector must not both give the memory back.
func TestWipedThenDropped(t *testing.T) {
	before := CurrentUsage().InUse
	func() {
		for range 100 {
			b := Random(64)
			b.Wipe()
			a, err := NewAEAD(New(KeySize))
			if err != nil {
				t.Error(err)
			}
			a.Wipe()
			NewHMAC(New(1)).Wipe()
		}
	}()
	eventually(t, "usage", func() bool { return CurrentUsage().InUse <= before+4*hasherSize })
	if got := CurrentUsage().InUse; got < 0 {
		t.Errorf("%d bytes in use", got)
	}
}

// A slice from Expose may still be in use when its Bytes is dropped.
func TestDroppedAfterExposeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fill(New(32), 0x5a) // fill exposes it
		view := b.Expose()
		b.cell.cleanup.Stop()
		dropped(b.cell.block) // as the collector would
		time.Sleep(grace - time.Second)
		if !bytes.Equal(view, bytes.Repeat([]byte{0x5a}, 32)) {
			t.Error("an exposed secret was wiped within its grace period")
		}
		time.Sleep(2 * time.Second)
		if !bytes.Equal(view, make([]byte, 32)) {
			t.Error("an exposed secret is never wiped")
		}
	})
}

func TestUsageCounts(t *testing.T) {
	before := CurrentUsage().InUse
	b := New(4096)
	if got := CurrentUsage().InUse - before; got < 4096-4*hasherSize {
		t.Errorf("4096 bytes count as %d", got)
	}
	b.Wipe()
	u := CurrentUsage()
	if u.Locked+u.Unlocked < u.InUse {
		t.Errorf("more in use than mapped: %+v", u)
	}
}
