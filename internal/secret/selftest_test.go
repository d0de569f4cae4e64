// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"reflect"
	"testing"
)

func TestFlat(t *testing.T) {
	type inner [3]uint32
	for _, tt := range []struct {
		v    any
		want bool
	}{
		{struct {
			n int
			i struct{ a inner }
			b [4][2]byte
			f float64
			c complex64
			t bool
		}{}, true},
		{struct{}{}, true},
		{struct{ p *int }{}, false},
		{struct{ s []byte }{}, false},
		{struct{ s string }{}, false},
		{struct{ m map[int]int }{}, false},
		{struct{ e error }{}, false},
		{struct{ f func() }{}, false},
		{struct{ c chan int }{}, false},
		{struct{ u uintptr }{}, false},
		{struct{ i [2]struct{ p *int } }{}, false},
	} {
		if got := flat(reflect.TypeOf(tt.v)); got != tt.want {
			t.Errorf("flat(%T) = %v", tt.v, got)
		}
	}
}

func TestFlatStruct(t *testing.T) {
	type small struct{ A, B uint64 }
	if typ, err := flatStruct(&small{}, 16); err != nil || typ != reflect.TypeFor[small]() {
		t.Errorf("a small struct: %v, %v", typ, err)
	}
	for _, v := range []any{nil, small{}, new(int), &struct{ p *int }{}, &struct{}{}} {
		if _, err := flatStruct(v, 16); err == nil {
			t.Errorf("%T was taken", v)
		}
	}
	if _, err := flatStruct(&small{}, 15); err == nil {
		t.Error("a struct larger than its place was taken")
	}
}

func TestPlaceMovesAndWipes(t *testing.T) {
	type state struct {
		a [5]uint32
		b byte
	}
	src := &state{a: [5]uint32{1, 2, 3, 4, 5}, b: 6}
	want := *src
	blk := memory().alloc(64)
	defer memory().release(blk)
	moved := place(src, blk).(*state)
	if *moved != want {
		t.Errorf("moved: %+v", *moved)
	}
	if *src != (state{}) {
		t.Errorf("original: %+v", *src)
	}
	moved.b = 9
	if blk.bytes()[20] != 9 {
		t.Error("the result doesn't lie in the block")
	}
}

// With another SHA-512 underneath, everything still works, unplaced.
func TestFallback(t *testing.T) {
	reason := errors.New("another form")
	o := runTests(func() (*sha512Layout, error) { return nil, reason })
	if o.layout != nil || !errors.Is(o.sha512, reason) || o.aead != nil {
		t.Errorf("outcome: %+v", o)
	}
}

// The self-test must notice a SHA-512 whose saved state means something else.
func TestSelfTestNoticesAnotherLayout(t *testing.T) {
	good, err := probeSHA512()
	if err != nil {
		t.Fatal(err)
	}
	bad := *good
	bad.chain += 8
	if testSHA512(&bad) == nil {
		t.Error("a wrong place of the chaining value passed")
	}
	o := runTests(func() (*sha512Layout, error) { return &bad, nil })
	if o.layout != nil || o.sha512 == nil {
		t.Error("a layout that failed its test is used")
	}
}

func TestProtectionNames(t *testing.T) {
	switch p := Protection(); p {
	case "memfd_secret", "mlock", "none":
	default:
		t.Errorf("Protection() = %q", p)
	}
	if levelSecret.String() != "memfd_secret" || levelLocked.String() != "mlock" || levelNone.String() != "none" {
		t.Error("levels have other names")
	}
}

// Setting up a key must end with a block of zeros through SHA-512, else the
// message schedule on the stack is the key's.
func TestKeySetupScrubs(t *testing.T) {
	h := newHasher(tested().layout)
	defer h.clean()
	zero := h.layout.marshaled[h.layout.chain:][:hashSize]
	for name, f := range map[string]func(){
		"key":      func() { h.key(h.state, []byte("key")) },
		"long key": func() { h.key(h.state, bytes.Repeat([]byte("key"), 100)) },
		"extract":  func() { h.extract(h.inner, []byte("salt"), []byte("ikm")) },
		"digest":   func() { h.digest(h.inner, []byte("key")) },
	} {
		f()
		got := make([]byte, hashSize)
		h.chaining(got)
		if !bytes.Equal(got, zero) {
			t.Errorf("%s: the last block hashed isn't zeros", name)
		}
		if !bytes.Equal(h.chunk, make([]byte, hashBlock)) {
			t.Errorf("%s: the block buffer isn't zero", name)
		}
	}
}

// A hasher goes back to the pool without a trace of its last user.
func TestHasherIsCleaned(t *testing.T) {
	var used *hasher
	withHasher(func(h *hasher) {
		used = h
		h.key(h.state, []byte("key"))
		h.mac(h.inner, h.state, []byte("a message that doesn't fill a block"))
	})
	mem, fresh := used.block.bytes(), used.layout.fresh
	if !bytes.Equal(mem[:len(fresh)], fresh) || !bytes.Equal(mem[len(fresh):], make([]byte, len(mem)-len(fresh))) {
		t.Error("a used hasher isn't clean")
	}
}

func FuzzHMAC(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("text"), 2)
	f.Add(make([]byte, 129), make([]byte, 111), 0)
	f.Add(make([]byte, 128), make([]byte, 112), 100)
	layout, err := probeSHA512()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, text []byte, cut int) {
		cut = min(max(cut, 0), len(text))
		for _, l := range []*sha512Layout{layout, nil} {
			h := newHasher(l)
			got := make([]byte, hashSize)
			h.key(h.state, key)
			h.mac(got, h.state, text[:cut], text[cut:])
			if !hmac.Equal(got, stdHMAC(key, text)) {
				t.Fatalf("HMAC differs: key of %d bytes, text of %d", len(key), len(text))
			}
		}
	})
}
