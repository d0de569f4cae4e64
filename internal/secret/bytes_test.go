// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"strings"
	"testing"
)

func fill(b *Bytes, v byte) *Bytes {
	for i := range b.Expose() {
		b.Expose()[i] = v
	}
	return b
}

func mustPanic(t *testing.T, what, message string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		r := recover()
		if r == nil {
			t.Errorf("%s: no panic", what)
			return
		}
		if s, ok := r.(string); !ok || !strings.Contains(s, message) {
			t.Errorf("%s: panic %v, want one with %q", what, r, message)
		}
	}()
	f()
}

func TestNewIsZero(t *testing.T) {
	// Twice, so that memory which held something is among it.
	for range 2 {
		for _, n := range []int{0, 1, 31, 32, 33, 64, 100, 760, 1024, 4095, 4096, 4097, 100_000} {
			b := New(n)
			if b.Len() != n || len(b.Expose()) != n || cap(b.Expose()) != n {
				t.Fatalf("New(%d): Len %d, len %d, cap %d", n, b.Len(), len(b.Expose()), cap(b.Expose()))
			}
			if !bytes.Equal(b.Expose(), make([]byte, n)) {
				t.Fatalf("New(%d) isn't zero", n)
			}
			fill(b, 0xff)
			b.Wipe()
		}
	}
	mustPanic(t, "New(-1)", "negative", func() { New(-1) })
}

func TestRandom(t *testing.T) {
	a, b := Random(32), Random(32)
	if a.Equal(b) || a.Equal(New(32)) {
		t.Error("Random repeats or gives zeros")
	}
}

func TestTakeWipesSource(t *testing.T) {
	src := []byte("a passphrase")
	b := Take(src)
	if string(b.Expose()) != "a passphrase" {
		t.Errorf("Take holds something else")
	}
	if !bytes.Equal(src, make([]byte, len(src))) {
		t.Errorf("source after Take: %q", src)
	}
}

func TestCloneIsIndependent(t *testing.T) {
	a := fill(New(40), 1)
	b := a.Clone()
	if !a.Equal(b) {
		t.Fatal("a clone differs")
	}
	a.Expose()[0] = 9
	if a.Equal(b) {
		t.Error("a clone shares memory")
	}
	a.Wipe()
	if !bytes.Equal(b.Expose(), bytes.Repeat([]byte{1}, 40)) {
		t.Error("wiping one changed its clone")
	}
}

func TestEqual(t *testing.T) {
	a := Take([]byte{1, 2, 3})
	for _, tt := range []struct {
		other []byte
		want  bool
	}{
		{[]byte{1, 2, 3}, true},
		{[]byte{1, 2, 4}, false},
		{[]byte{0, 2, 3}, false},
		{[]byte{1, 2}, false},
		{[]byte{1, 2, 3, 0}, false},
		{nil, false},
	} {
		if got := a.Equal(Take(bytes.Clone(tt.other))); got != tt.want {
			t.Errorf("Equal(%v) = %v", tt.other, got)
		}
	}
}

func TestUseAfterWipePanics(t *testing.T) {
	b, live := New(32), New(32)
	b.Wipe()
	b.Wipe() // idempotent
	for name, f := range map[string]func(){
		"Len":         func() { b.Len() },
		"Expose":      func() { b.Expose() },
		"Clone":       func() { b.Clone() },
		"Equal":       func() { b.Equal(live) },
		"Equal other": func() { live.Equal(b) },
		"NewAEAD":     func() { _, _ = NewAEAD(b) },
		"NewHMAC":     func() { NewHMAC(b) },
		"Extract":     func() { Extract(nil, b) },
		"salt":        func() { ExtractSecret(b, live) },
		"Expand":      func() { Expand(b, nil, 32) },
	} {
		mustPanic(t, name, "after Wipe", f)
	}
	var zero Bytes
	mustPanic(t, "zero value", "never made", func() { zero.Expose() })
	zero.Wipe()
	var none *Bytes
	none.Wipe()
}

func TestWipeZeroesMemory(t *testing.T) {
	for _, n := range []int{1, 32, 4096} { // more has its own mapping, which is gone
		b := fill(New(n), 0xa5)
		view := b.Expose()
		b.Wipe()
		if !bytes.Equal(view, make([]byte, n)) {
			t.Errorf("memory of %d bytes isn't zero after Wipe", n)
		}
	}
	p := []byte{1, 2, 3}
	Wipe(p)
	if !bytes.Equal(p, make([]byte, 3)) {
		t.Errorf("Wipe left %v", p)
	}
}

func TestAppendCopies(t *testing.T) {
	a, b := fill(New(32), 1), fill(New(32), 2)
	_ = append(a.Expose(), 7, 7, 7)
	_ = append(b.Expose(), 7, 7, 7)
	if !bytes.Equal(a.Expose(), bytes.Repeat([]byte{1}, 32)) || !bytes.Equal(b.Expose(), bytes.Repeat([]byte{2}, 32)) {
		t.Error("append wrote into a neighbour")
	}
}
