// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"claviger/internal/wire"
)

func TestSealOpensOnlyForItsKeyTypeAndInfo(t *testing.T) {
	key, other := wire.NewKey(), wire.NewKey()
	info := wire.Sum("x")
	sealed, err := wire.Seal(key.Public(), "t", info, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := key.Open("t", info, sealed, 1<<16)
	if err != nil || !bytes.Equal(got, []byte("secret")) {
		t.Fatalf("open: %q, %v", got, err)
	}
	if _, err := other.Open("t", info, sealed, 1<<16); !errors.Is(err, wire.ErrSealed) {
		t.Errorf("other key: %v", err)
	}
	if _, err := key.Open("t", wire.Sum("y"), sealed, 1<<16); !errors.Is(err, wire.ErrSealed) {
		t.Errorf("other info: %v", err)
	}
	if _, err := key.Open("u", info, sealed, 1<<16); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("other type: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := key.Open("t", info, bad, 1<<16); err == nil {
			t.Fatalf("byte %d flipped and it still opens", i)
		}
	}
}

func TestKeySeedRoundTrip(t *testing.T) {
	key := wire.NewKey()
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	again, err := wire.KeyFromSeed(seed)
	if err != nil || !bytes.Equal(again.Public(), key.Public()) {
		t.Fatalf("restored key differs: %v", err)
	}
}

// TestKeyWipe: a wiped key opens nothing and gives no seed, and the seed that
// it was made of is gone. That this reaches the key's own seed rests on
// crypto/hpke returning it uncopied.
func TestKeyWipe(t *testing.T) {
	key := wire.NewKey()
	sealed, err := wire.Seal(key.Public(), wire.TypeRequest, wire.Hash{1}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	again, err := wire.KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	key.Wipe()
	key.Wipe()
	if _, err := key.Open(wire.TypeRequest, wire.Hash{1}, sealed, 1<<16); !errors.Is(err, wire.ErrSealed) {
		t.Errorf("a wiped key opens: %v", err)
	}
	if _, err := key.Seed(); !errors.Is(err, wire.ErrSealed) || !bytes.Equal(seed, make([]byte, len(seed))) {
		t.Errorf("a wiped key's seed: %v", err)
	}
	if len(key.Public()) != wire.PublicKeySize {
		t.Error("the public half is gone too")
	}
	if plain, err := again.Open(wire.TypeRequest, wire.Hash{1}, sealed, 1<<16); err != nil || string(plain) != "hello" {
		t.Errorf("another key of the same seed: %v", err)
	}
}
