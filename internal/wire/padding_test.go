// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"claviger/internal/wire"
)

// classes are what a carrier may see of padded messages of a type.
var classes = map[string][]int{
	wire.TypeRequest:  {4096, 8192, 16384, 32768, 65536, 131072, 262144, wire.MaxSealedSize},
	wire.TypeEnroll:   {4096, 8192, 16384, 32768, 65536, 131072, 262144, wire.MaxSealedSize},
	wire.TypeRenew:    {4096, 8192, 16384, 32768, 65536, 131072, 262144, wire.MaxSealedSize},
	wire.TypeRelease:  {4096, 8192, 16384, 32768, 65536, 131072, 262144, wire.MaxRelease + 2<<10},
	wire.TypeEnrolled: {4096, 8192, 16384, 32768, 65536, 131072, 262144, wire.MaxEnroll + 2<<10},
	wire.TypeAck:      {4096},
}

// TestPadding: a carrier sees sizes of classes only, the smallest that do, and who
// opens gets back what was sealed.
func TestPadding(t *testing.T) {
	key := wire.NewKey()
	for typ, all := range classes {
		last := all[len(all)-1]
		for _, n := range []int{1, 2, 1000, 2900, 3000, 7000, 14000, 30000, 63000, 64300, 64400, 64500, 70000, 129000, 200000, 260000, 261000, 262000, 327000, 328500} {
			message := bytes.Repeat([]byte{0x84}, n)
			plain, err := wire.Seal(key.Public(), typ, wire.Hash{1}, message)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := wire.Padding(true).Seal(key.Public(), typ, wire.Hash{1}, message)
			if len(plain)+5 > last {
				if !errors.Is(err, wire.ErrNoSizeClass) {
					t.Errorf("%s of %d bytes: %v", typ, n, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			at, _ := slices.BinarySearch(all, len(plain)+5)
			if len(sealed) != all[at] {
				t.Errorf("%s of %d bytes: %d bytes sealed, %d padded, want %d", typ, n, len(plain), len(sealed), all[at])
			}
			got, err := key.Open(typ, wire.Hash{1}, sealed, last)
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s of %d bytes: %d came back, %v", typ, n, len(got), err)
			}
			if got, err := key.Open(typ, wire.Hash{1}, plain, 1<<20); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s of %d bytes without padding: %v", typ, n, err)
			}
		}
	}
	none, err := wire.Padding(false).Seal(key.Public(), wire.TypeRelease, wire.Hash{1}, []byte{0x84})
	if err != nil || len(none) > 1500 {
		t.Errorf("padded unasked: %d bytes, %v", len(none), err)
	}
}

// TestEveryClassIsReached: no message falls between two classes, wherever the head
// of the ciphertext grows.
func TestEveryClassIsReached(t *testing.T) {
	key := wire.NewKey()
	for n := 64350; n < 64400; n++ {
		sealed, err := wire.Padding(true).Seal(key.Public(), wire.TypeRequest, wire.Hash{}, make([]byte, n))
		if err != nil || !slices.Contains(classes[wire.TypeRequest], len(sealed)) {
			t.Errorf("%d bytes: %d, %v", n, len(sealed), err)
		}
	}
}

// padded is a padded plaintext as it has to be, for one to be spoilt.
func padded(t *testing.T, key *wire.Key, message []byte) []byte {
	t.Helper()
	plain, err := wire.Seal(key.Public(), wire.TypeAck, wire.Hash{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	overhead := len(plain) + 2 // the ciphertext's head grows from one byte to three
	out := make([]byte, 4096-overhead)
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	copy(out[5:], message)
	return out
}

// TestPaddingIsStrict: of each message there is one padded form, and no other is
// taken.
func TestPaddingIsStrict(t *testing.T) {
	key := wire.NewKey()
	message := []byte{0x83, 1, 2, 3}
	good := padded(t, key, message)
	open := func(plain []byte) ([]byte, error) {
		sealed, err := wire.Seal(key.Public(), wire.TypeAck, wire.Hash{}, plain)
		if err != nil {
			t.Fatal(err)
		}
		return key.Open(wire.TypeAck, wire.Hash{}, sealed, 1<<20)
	}
	if got, err := open(good); err != nil || !bytes.Equal(got, message) {
		t.Fatalf("%x, %v", got, err)
	}
	edit := func(at int, b byte) []byte {
		out := bytes.Clone(good)
		out[at] = b
		return out
	}
	for name, plain := range map[string][]byte{
		"the mark alone":        {0},
		"no length":             {0, 0, 0, 0},
		"a length beyond it":    edit(1, 1),
		"a longest length":      bytes.Repeat([]byte{0xff}, 4),
		"one byte in the zeros": edit(len(good)-1, 1),
		"the first of them":     edit(5+len(message), 1),
		"a byte less":           good[:len(good)-1],
		"a byte more":           append(bytes.Clone(good), 0),
		"no padding":            good[:5+len(message)],
		"another class":         append(bytes.Clone(good), make([]byte, 4096)...),
	} {
		if name == "a longest length" {
			plain = append([]byte{0}, append(plain, good[5:]...)...)
		}
		if got, err := open(plain); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	// A type that is never padded comes back as it is.
	sealed, err := wire.Seal(key.Public(), "claviger/v1/other", wire.Hash{}, []byte{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.Open("claviger/v1/other", wire.Hash{}, sealed, 1<<20); err != nil || !bytes.Equal(got, []byte{0, 1}) {
		t.Errorf("%x, %v", got, err)
	}
}

// FuzzPaddedPlaintext: whatever stands in a plaintext, what comes of it pads to the
// same again or was never padded.
func FuzzPaddedPlaintext(f *testing.F) {
	key := wire.NewKey()
	f.Add([]byte{0, 0, 0, 0, 1, 0x80, 0})
	f.Add([]byte{0x84, 0})
	f.Add(make([]byte, 2900))
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed, err := wire.Seal(key.Public(), wire.TypeRelease, wire.Hash{}, plain)
		if err != nil || len(sealed) > wire.MaxRelease {
			return
		}
		message, err := key.Open(wire.TypeRelease, wire.Hash{}, sealed, wire.MaxRelease)
		if err != nil || bytes.Equal(message, plain) {
			return
		}
		again, err := wire.Padding(true).Seal(key.Public(), wire.TypeRelease, wire.Hash{}, message)
		if err != nil || len(again) != len(sealed) {
			t.Errorf("%d bytes pad to %d, not %d: %v", len(message), len(again), len(sealed), err)
		}
	})
}
