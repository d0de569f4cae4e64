// SPDX-License-Identifier: Apache-2.0

package atrest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"claviger/internal/authority/atrest"
	"claviger/internal/kdf"
	"claviger/internal/secret"
)

func TestBoxOpensOnlyAsItWasSealed(t *testing.T) {
	box := atrest.Box{Key: secret.Random(32), Domain: [32]byte{1}, Label: "a"}
	plain, place := []byte("a small value"), []byte("place")
	sealed := box.Seal(plain, place)
	if got, err := box.Open(sealed, place); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %q, %v", got, err)
	}
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, box.Seal(plain, place)) {
		t.Error("sealed twice to the same bytes, or not at all")
	}
	key, domain, label := box, box, box
	key.Key, domain.Domain, label.Label = secret.Random(32), [32]byte{2}, "b"
	for name, other := range map[string]atrest.Box{"key": key, "domain": domain, "label": label} {
		if _, err := other.Open(sealed, place); !errors.Is(err, atrest.ErrSeal) {
			t.Errorf("under another %s: %v", name, err)
		}
	}
	if _, err := box.Open(sealed, []byte("Place")); !errors.Is(err, atrest.ErrSeal) {
		t.Errorf("in another place: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x20
		if _, err := box.Open(bad, place); !errors.Is(err, atrest.ErrSeal) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := box.Open(sealed[:n], place); !errors.Is(err, atrest.ErrSeal) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestBoxFormat opens a box with nothing but the primitives of the
// specification (docs/spec/authority-log.md, section on seals).
func TestBoxFormat(t *testing.T) {
	master := secret.Random(32)
	box := atrest.Box{Key: master, Domain: [32]byte{1}, Label: "record"}
	sealed := box.Seal([]byte("value"), []byte("aad"))
	if len(sealed) != 32+5+16 {
		t.Fatalf("%d bytes", len(sealed))
	}
	key := secret.Expand(master, kdf.Info("record", [32]byte{1}, sealed[:32]), 32)
	aead, err := secret.NewAEAD(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := aead.Open(nil, make([]byte, 12), sealed[32:], []byte("aad")); err != nil || string(got) != "value" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFile(t *testing.T) {
	f := atrest.File{Path: filepath.Join(t.TempDir(), "head"), Box: atrest.Box{Key: secret.Random(32), Label: "head"}}
	place := []byte("p")
	if got, err := f.Read(place); got != nil || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	for _, value := range []string{"a longer value", "short"} {
		if err := f.Write([]byte(value), place); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Read(place); err != nil || string(got) != value {
			t.Errorf("read back %q, %v", got, err)
		}
	}
	if _, err := os.Stat(f.Path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left beside: %v", err)
	}
	if _, err := f.Read([]byte("q")); !errors.Is(err, atrest.ErrSeal) {
		t.Errorf("for another place: %v", err)
	}
	if err := os.WriteFile(f.Path, make([]byte, 65<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(place); !errors.Is(err, atrest.ErrSeal) {
		t.Errorf("a large file: %v", err)
	}
	f.Path = filepath.Dir(f.Path)
	if _, err := f.Read(place); err == nil || errors.Is(err, atrest.ErrSeal) {
		t.Errorf("a directory: %v", err)
	}
	f.Path = filepath.Join(f.Path, "gone", "head")
	if err := f.Write(nil, place); err == nil {
		t.Error("wrote into a directory that is not there")
	}
}

// TestFailedWriteLeavesTheOldFile breaks the step after the new bytes are down.
func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	f := atrest.File{Path: filepath.Join(t.TempDir(), "head"), Box: atrest.Box{Key: secret.Random(32), Label: "head"}}
	if err := f.Write([]byte("old"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.Path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Write([]byte("new"), nil); err == nil {
		t.Fatal("wrote over a directory")
	}
	if got, err := f.Read(nil); err != nil || string(got) != "old" {
		t.Errorf("read %q, %v", got, err)
	}
}
