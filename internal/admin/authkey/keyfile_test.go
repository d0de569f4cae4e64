// SPDX-License-Identifier: Apache-2.0

package authkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"testing"

	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func TestKeyFile(t *testing.T) {
	for _, c := range []struct {
		name       string
		seal, open func() Unlock
		want       error
	}{
		{"passphrase", func() Unlock { return Unlock{Passphrase: phrase()} }, func() Unlock { return Unlock{Passphrase: phrase()} }, nil},
		{"wrong passphrase", func() Unlock { return Unlock{Passphrase: phrase()} },
			func() Unlock { return Unlock{Passphrase: secret.Take([]byte("correct horse batterx"))} }, root.ErrWrongPassphrase},
		{"key file", keyA, keyA, nil},
		{"wrong key file", keyA, func() Unlock { return Unlock{Key: secret.Take(bytes.Repeat([]byte{2}, 32))} }, root.ErrWrongKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := Generate()
			data, err := Seal("alice", key, c.seal(), cheap)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Open(data, c.open())
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			signature, err := got.Sign(nil, []byte("message"), nullHash{})
			if err != nil || !ed25519.Verify(key.public, []byte("message"), signature) {
				t.Errorf("the opened key signs differently: %v", err)
			}
		})
	}
}

type nullHash struct{}

func (nullHash) HashFunc() crypto.Hash { return 0 }

// cheap is the least cost that a passphrase may have.
var cheap = root.Cost{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}

func phrase() *secret.Bytes { return secret.Take([]byte("correct horse battery")) }

func must(k members.Key, err error) members.Key {
	if err != nil {
		panic(err)
	}
	return k
}

func keyA() Unlock { return Unlock{Key: secret.Take(bytes.Repeat([]byte{1}, 32))} }

func TestKeyFileRefusals(t *testing.T) {
	key := Generate()
	for name, u := range map[string]Unlock{
		"nothing": {}, "both": {Passphrase: phrase(), Key: keyA().Key},
		"short passphrase": {Passphrase: secret.Take([]byte("elevenbytes"))},
		"short key file":   {Key: secret.Take(make([]byte, 31))},
	} {
		if _, err := Seal("alice", key, u, cheap); err == nil {
			t.Errorf("sealed under %s", name)
		}
	}
	for name, cost := range map[string]root.Cost{
		"cheap": {MemoryKiB: 19<<10 - 1, Passes: 2, Lanes: 1}, "dear": {MemoryKiB: 1<<20 + 1, Passes: 2, Lanes: 1},
		"one pass": {MemoryKiB: 19 << 10, Passes: 1, Lanes: 1}, "many passes": {MemoryKiB: 19 << 10, Passes: 17, Lanes: 1},
		"many lanes": {MemoryKiB: 19 << 10, Passes: 2, Lanes: 17},
	} {
		if _, err := Seal("alice", key, Unlock{Passphrase: phrase()}, cost); err == nil {
			t.Errorf("%s cost taken", name)
		}
	}
	if _, err := Seal("Alice!", key, keyA(), cheap); err == nil {
		t.Error("an unusable name taken")
	}
}

// TestKeyFileIsCovered flips each byte of a key file: it opens no more.
func TestKeyFileIsCovered(t *testing.T) {
	data, err := Seal("alice", Generate(), keyA(), cheap)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := Open(bad, keyA()); err == nil {
			t.Errorf("opens with byte %d changed", i)
		}
	}
	if _, err := Open(append(bytes.Clone(data), 0), keyA()); !errors.Is(err, ErrFile) {
		t.Errorf("opens with a byte more: %v", err)
	}
}

// TestKeyFileNamesItsKey: a file that was made to show another public key than
// the one inside doesn't open, although its seal is right.
func TestKeyFileNamesItsKey(t *testing.T) {
	mine, theirs := Generate(), Generate()
	forged := &Key{seed: mine.seed, public: theirs.public}
	data, err := Seal("alice", forged, keyA(), cheap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(data, keyA()); !errors.Is(err, ErrFile) {
		t.Errorf("got %v", err)
	}
}

func TestPublicText(t *testing.T) {
	k := must(Generate().Member("alice"))
	got, err := ParseNamed(FormatNamed(k))
	if err != nil || got.Name != k.Name || !bytes.Equal(got.Public, k.Public) {
		t.Errorf("%+v, %v", got, err)
	}
	whole := FormatPublic(k.Public)
	for _, bad := range []string{"", "alice", "=" + whole, "Al ice=" + whole, "alice=" + whole[1:], "alice=" + whole + "A", "alice=" + whole[:len(whole)-1]} {
		if k, err := ParseNamed(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, members.Key(k))
		}
	}
}

func FuzzKeyFile(f *testing.F) {
	data, err := Seal("alice", Generate(), keyA(), cheap)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parse(data)
		if err == nil && !bytes.Equal(wire.Marshal(*k), data) {
			t.Error("two encodings of one file")
		}
	})
}
