// SPDX-License-Identifier: Apache-2.0

// Package roottest holds what every custody of a root has to do, as a suite
// that each kind runs ([Run]), and makes an open root for the tests of packages
// that need one ([New]).
package roottest

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"claviger/internal/root"
	"claviger/internal/secret"
)

// Custody is an open root as its users see it, wherever the secret is.
type Custody interface {
	Derive(label string, fields ...[]byte) (*secret.Bytes, error)
	Fingerprint() [32]byte
	Wipe()
}

// New returns an open root with a new secret of generation 1, sealed under a
// key file in a temporary directory. It is wiped when the test ends.
func New(t testing.TB) *root.Secret {
	t.Helper()
	key := secret.Random(root.MinKey)
	defer key.Wipe()
	s, err := root.Create(filepath.Join(t.TempDir(), "root"), 1, root.Sealing{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wipe)
	return s
}

// Run checks a custody. open opens the same root each time it is called, other
// another one. The suite wipes what they return.
func Run(t *testing.T, open, other func(t *testing.T) Custody) {
	t.Run("deterministic", func(t *testing.T) { testDeterministic(t, open) })
	t.Run("separated", func(t *testing.T) { testSeparated(t, opened(t, open)) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, opened(t, open)) })
	t.Run("other root", func(t *testing.T) { testOther(t, opened(t, open), opened(t, other)) })
	t.Run("independent results", func(t *testing.T) { testIndependent(t, opened(t, open)) })
	t.Run("arguments", func(t *testing.T) { testArguments(t, opened(t, open)) })
	t.Run("wipe", func(t *testing.T) { testWipe(t, open) })
}

func opened(t *testing.T, open func(*testing.T) Custody) Custody {
	t.Helper()
	custody := open(t)
	t.Cleanup(custody.Wipe)
	return custody
}

func derive(t *testing.T, custody Custody, label string, fields ...[]byte) *secret.Bytes {
	t.Helper()
	key, err := custody.Derive(label, fields...)
	if err != nil {
		t.Fatal(err)
	}
	if key.Len() != 32 {
		t.Fatalf("derived %d bytes, want 32", key.Len())
	}
	return key
}

func testDeterministic(t *testing.T, open func(*testing.T) Custody) {
	first, second := opened(t, open), opened(t, open)
	want := derive(t, first, "label", []byte("field"), nil)
	for _, custody := range []Custody{first, second} {
		if !derive(t, custody, "label", []byte("field"), nil).Equal(want) {
			t.Error("one derivation gave two keys")
		}
	}
	if first.Fingerprint() != second.Fingerprint() || first.Fingerprint() == [32]byte{} {
		t.Error("one root has two fingerprints, or none")
	}
}

// testSeparated derives with arguments whose plain concatenations agree: all
// keys differ, and none is the fingerprint.
func testSeparated(t *testing.T, custody Custody) {
	type call struct {
		label  string
		fields [][]byte
	}
	calls := []call{
		{"ab", nil},
		{"ab", [][]byte{nil}},
		{"ab", [][]byte{nil, nil}},
		{"ab", [][]byte{{0}}},
		{"ab", [][]byte{{0, 0, 0, 0}}},
		{"a", [][]byte{[]byte("b")}},
		{"a", [][]byte{[]byte("bc"), []byte("d")}},
		{"a", [][]byte{[]byte("b"), []byte("cd")}},
		{"a", [][]byte{[]byte("bcd")}},
		{"a", [][]byte{[]byte("cd"), []byte("b")}},
		{"abcd", nil},
		{"AB", nil},
		{"ab\x00", nil},
		{"fingerprint", nil},
		{"a", [][]byte{bytes.Repeat([]byte{1}, 1000)}},
		{"a", [][]byte{bytes.Repeat([]byte{1}, 1001)}},
	}
	seen := make(map[[32]byte]string)
	seen[custody.Fingerprint()] = "the fingerprint"
	for _, c := range calls {
		name := fmt.Sprintf("Derive(%q, %q)", c.label, c.fields)
		key := [32]byte(derive(t, custody, c.label, c.fields...).Expose())
		if first, doubled := seen[key]; doubled {
			t.Errorf("%s and %s are the same", first, name)
		}
		seen[key] = name
	}
}

func testConcurrent(t *testing.T, custody Custody) {
	want := derive(t, custody, "label", []byte{7})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				key, err := custody.Derive("label", []byte{7})
				if err != nil || !key.Equal(want) {
					t.Errorf("concurrent Derive gave another key (%v)", err)
					return
				}
				key.Wipe()
			}
		})
	}
	all.Wait()
}

func testOther(t *testing.T, custody, other Custody) {
	if derive(t, custody, "label").Equal(derive(t, other, "label")) {
		t.Error("two roots derive the same key")
	}
	if custody.Fingerprint() == other.Fingerprint() {
		t.Error("two roots have the same fingerprint")
	}
}

// testIndependent wipes and overwrites results: the root must not notice.
func testIndependent(t *testing.T, custody Custody) {
	want := derive(t, custody, "label")
	for range 3 {
		key := derive(t, custody, "label")
		clear(key.Expose())
		key.Wipe()
	}
	field := []byte("field")
	before := derive(t, custody, "label", field)
	if string(field) != "field" {
		t.Error("Derive changed its argument")
	}
	field[0] = 'F'
	if derive(t, custody, "label", field).Equal(before) || !derive(t, custody, "label").Equal(want) {
		t.Error("a result depends on what became of an earlier one")
	}
}

func testArguments(t *testing.T, custody Custody) {
	if _, err := custody.Derive(""); err == nil {
		t.Error("an empty label was taken")
	}
	derive(t, custody, strings.Repeat("l", 64), bytes.Repeat([]byte{1}, 4096))
}

func testWipe(t *testing.T, open func(*testing.T) Custody) {
	custody, kept := opened(t, open), opened(t, open)
	want := derive(t, kept, "label")
	key := derive(t, custody, "label")
	fingerprint := custody.Fingerprint()
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() { // until the custody is wiped under it
			for {
				key, err := custody.Derive("label")
				if err != nil {
					return
				}
				if !key.Equal(want) {
					t.Error("a wiped custody gave another key")
					return
				}
			}
		})
	}
	custody.Wipe()
	users.Wait()
	custody.Wipe()
	if _, err := custody.Derive("label"); err == nil {
		t.Error("a wiped custody derives")
	}
	if custody.Fingerprint() != fingerprint {
		t.Error("the fingerprint changed by wiping")
	}
	if !key.Equal(want) || !derive(t, kept, "label").Equal(want) {
		t.Error("wiping reached a key that was handed out, or another opening")
	}
}
