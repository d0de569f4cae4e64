// SPDX-License-Identifier: Apache-2.0

package cobblestone

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"claviger/internal/secret"
)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	key := newKey(t)
	for _, n := range []int{0, 1, 15, 16, 17, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2 * ChunkSize, 3*ChunkSize + 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			plain := random(n)
			sealed, err := key.Seal([]byte("head"), plain, []byte("c"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(sealed, []byte("head")) {
				t.Error("Seal didn't append")
			}
			sealed = sealed[4:]
			if want, err := SealedSize(int64(n)); err != nil || int64(len(sealed)) != want {
				t.Errorf("sealed to %d bytes, SealedSize says %d, %v", len(sealed), want, err)
			}
			got, err := key.Open([]byte("head"), sealed, []byte("c"))
			if err != nil || !bytes.Equal(got, append([]byte("head"), plain...)) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestFreshSalt guards against a salt that isn't drawn for each message: equal
// salts would be equal keys and nonces.
func TestFreshSalt(t *testing.T) {
	key := newKey(t)
	seen := map[string]bool{}
	for range 100 {
		m := key.New(nil)
		seen[string(m.Prefix()[:saltSize])] = true
		m.Wipe()
	}
	if len(seen) != 100 {
		t.Errorf("%d different salts in 100 messages", len(seen))
	}
}

// TestEveryBit flips each bit of a two-chunk message's interesting parts.
func TestEveryBit(t *testing.T) {
	key := newKey(t)
	sealed, err := key.Seal(nil, random(40), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if out, err := key.Open(nil, bad, nil); !errors.Is(err, ErrMessage) || out != nil {
			t.Fatalf("bit %d flipped: %d bytes, %v", i, len(out), err)
		}
	}
}

func TestRefused(t *testing.T) {
	key := newKey(t)
	sealed, err := key.Seal(nil, random(2*ChunkSize+100), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(i int) []byte {
		at := int(Offset(int64(i)))
		return sealed[at:min(at+SealedChunkSize, len(sealed))]
	}
	prefix := sealed[:PrefixSize]
	other, err := key.Seal(nil, random(2*ChunkSize+100), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"empty":              {},
		"prefix cut":         prefix[:PrefixSize-1],
		"prefix alone":       prefix,
		"tag cut":            sealed[:PrefixSize+TagSize-1],
		"at chunk boundary":  sealed[:Offset(2)],
		"last byte gone":     sealed[:len(sealed)-1],
		"byte added":         append(bytes.Clone(sealed), 0),
		"chunks swapped":     bytes.Join([][]byte{prefix, chunk(1), chunk(0), chunk(2)}, nil),
		"chunk repeated":     bytes.Join([][]byte{prefix, chunk(0), chunk(0), chunk(2)}, nil),
		"chunk dropped":      bytes.Join([][]byte{prefix, chunk(0), chunk(2)}, nil),
		"chunk of another":   bytes.Join([][]byte{prefix, other[Offset(0):Offset(1)], chunk(1), chunk(2)}, nil),
		"prefix of another":  append(bytes.Clone(other[:PrefixSize]), sealed[PrefixSize:]...),
		"final chunk twice":  append(bytes.Clone(sealed), chunk(2)...),
		"full chunk at last": bytes.Join([][]byte{prefix, chunk(0)}, nil),
	}
	for name, message := range cases {
		if out, err := key.Open(nil, message, []byte("c")); !errors.Is(err, ErrMessage) || out != nil {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
	if _, err := key.Open(nil, sealed, []byte("d")); !errors.Is(err, ErrMessage) {
		t.Errorf("other context: %v", err)
	}
	if _, err := newKey(t).Open(nil, sealed, []byte("c")); !errors.Is(err, ErrMessage) {
		t.Errorf("other key: %v", err)
	}
	m, err := key.Parse(prefix, []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Wipe()
	part := sealed[Offset(0) : Offset(1)+100]
	if _, err := m.OpenRun(nil, 0, part, false); !errors.Is(err, ErrMessage) {
		t.Errorf("a run in the middle with a part of a chunk: %v", err)
	}
	if _, err := key.Parse(sealed[:PrefixSize-1], []byte("c")); !errors.Is(err, ErrMessage) {
		t.Errorf("short prefix: %v", err)
	}
}

// TestNothingEscapes checks the memory behind the result: a bad second chunk
// must not leave the first one's plaintext there.
func TestNothingEscapes(t *testing.T) {
	key := newKey(t)
	plain := bytes.Repeat([]byte{0x5a}, ChunkSize+10)
	sealed, err := key.Seal(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)-1] ^= 1
	dst := make([]byte, 0, len(sealed))
	if _, err := key.Open(dst, sealed, nil); !errors.Is(err, ErrMessage) {
		t.Fatal(err)
	}
	if bytes.Contains(dst[:cap(dst)], []byte{0x5a, 0x5a, 0x5a, 0x5a}) {
		t.Error("plaintext of a refused message is in the caller's buffer")
	}
}

func TestRunsInAnyOrder(t *testing.T) {
	key := newKey(t)
	plain := random(10*ChunkSize + 7)
	m := key.New(nil)
	defer m.Wipe()
	size, err := SealedSize(int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, size)
	copy(sealed, m.Prefix())
	var workers sync.WaitGroup
	for i := 10; i >= 0; i -= 2 {
		workers.Go(func() {
			at, end := Offset(int64(i)), min(int64(i+2)*ChunkSize, int64(len(plain)))
			_, err := m.SealRun(sealed[at:at:len(sealed)], int64(i), plain[i*ChunkSize:end], i == 10)
			if err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	got, err := key.Open(nil, sealed, nil)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("runs sealed apart don't make one message: %v", err)
	}
}

func TestChunkLimit(t *testing.T) {
	m := newKey(t).New(nil)
	defer m.Wipe()
	sealed, err := m.SealRun(nil, maxChunks-1, []byte("last possible"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.OpenRun(nil, maxChunks-1, sealed, true); err != nil {
		t.Errorf("last possible chunk: %v", err)
	}
	if _, err := m.SealRun(nil, maxChunks, nil, true); !errors.Is(err, ErrTooLong) {
		t.Errorf("chunk 2^38 sealed: %v", err)
	}
	if _, err := m.SealRun(nil, maxChunks-1, make([]byte, ChunkSize), true); !errors.Is(err, ErrTooLong) {
		t.Errorf("run over the end sealed: %v", err)
	}
	if _, err := m.SealRun(nil, -1, nil, true); !errors.Is(err, ErrTooLong) {
		t.Errorf("chunk -1 sealed: %v", err)
	}
	// The nonce of chunk 2^38 exists, so only the limit stands in the way.
	room := make([]byte, nonceSize)
	beyond := m.aead.Seal(nil, m.nonce(room, maxChunks), nil, nil)
	if _, err := m.OpenRun(nil, maxChunks, beyond, true); !errors.Is(err, ErrMessage) {
		t.Errorf("chunk 2^38 opened: %v", err)
	}
	before := m.aead.Seal(nil, m.nonce(room, -1), nil, nil)
	if _, err := m.OpenRun(nil, -1, before, true); !errors.Is(err, ErrMessage) {
		t.Errorf("chunk -1 opened: %v", err)
	}
}

func TestSizes(t *testing.T) {
	if _, err := SealedSize(-1); !errors.Is(err, ErrTooLong) {
		t.Errorf("SealedSize(-1): %v", err)
	}
	if _, err := SealedSize(MaxPlain + 1); !errors.Is(err, ErrTooLong) {
		t.Errorf("SealedSize over the limit: %v", err)
	}
	largest, err := SealedSize(MaxPlain)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := PlainSize(largest); err != nil || n != MaxPlain {
		t.Errorf("PlainSize of the largest = %d, %v", n, err)
	}
	for _, n := range []int64{-1, 0, PrefixSize, PrefixSize + TagSize - 1, Offset(1), Offset(1) + TagSize - 1, largest + 1, largest + 1 + TagSize, 1<<63 - 1} {
		if got, err := PlainSize(n); !errors.Is(err, ErrMessage) {
			t.Errorf("PlainSize(%d) = %d, %v", n, got, err)
		}
	}
}

func TestRunBeforeTheLastIsWhole(t *testing.T) {
	m := newKey(t).New(nil)
	defer m.Wipe()
	defer func() {
		if recover() == nil {
			t.Error("a partial chunk in the middle was sealed")
		}
	}()
	m.SealRun(nil, 0, make([]byte, ChunkSize+1), false) //nolint:errcheck // it has to panic
}

func TestKeySize(t *testing.T) {
	for _, n := range []int{16, 31, 33, 64} {
		if _, err := NewKey(secret.Random(n)); err == nil {
			t.Errorf("input key of %d bytes accepted", n)
		}
	}
}

// TestWipeGivesPlacesBack: a wiped key keeps no protected memory.
func TestWipeGivesPlacesBack(t *testing.T) {
	key, err := NewKey(secret.Random(KeySize))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := key.Seal(nil, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	key.Wipe()
	if p := key.places.Get(); p != nil {
		t.Error("a place is left behind")
	}
}

// TestValueKey: what NewValueKey seals is no other format.
func TestValueKey(t *testing.T) {
	input := secret.Random(KeySize)
	whole, err := NewKey(input)
	if err != nil {
		t.Fatal(err)
	}
	value, err := NewValueKey(input)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]*Key{{whole, value}, {value, whole}} {
		sealed, err := pair[0].Seal(nil, []byte("text"), []byte("c"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := pair[1].Open(nil, sealed, []byte("c"))
		if err != nil || string(got) != "text" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := NewValueKey(secret.Random(31)); err == nil {
		t.Error("input key of 31 bytes accepted")
	}
}

func FuzzOpen(f *testing.F) {
	key := newKey(f)
	sealed, err := key.Seal(nil, random(ChunkSize+100), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, 0, byte(1), true)
	f.Add(len(sealed), PrefixSize, byte(0), false)
	f.Add(int(Offset(1)), 3, byte(0x80), true)
	f.Fuzz(func(t *testing.T, cut, at int, flip byte, whole bool) {
		bad := bytes.Clone(sealed)
		if !whole && cut >= 0 && cut < len(bad) {
			bad = bad[:cut]
		}
		if at >= 0 && at < len(bad) {
			bad[at] ^= flip
		}
		_, err := key.Open(nil, bad, nil)
		if changed := !bytes.Equal(bad, sealed); changed != (err != nil) {
			t.Errorf("changed %v, error %v", changed, err)
		}
	})
}
