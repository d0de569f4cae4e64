// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
)

// testRef is a Ref with random ids.
func testRef(partition string) Ref {
	r := Ref{Version: 3, Partition: []byte(partition)}
	rand.Read(r.Domain[:])
	rand.Read(r.KeyID[:])
	return r
}

// leafKey makes a LeafKey of fresh random bytes for r.
func leafKey(t testing.TB, r Ref) *LeafKey {
	t.Helper()
	return leafKeyOf(t, r, random(LeafSize))
}

// leafKeyOf makes a LeafKey of a copy of leaf.
func leafKeyOf(t testing.TB, r Ref, leaf []byte) *LeafKey {
	t.Helper()
	k, err := NewLeafKey(r, bytes.Clone(leaf))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Wipe)
	return k
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// must returns v unless there is an error.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// encrypt seals plaintext for k.
func encrypt(t testing.TB, k Wrapper, plaintext []byte, o Options) []byte {
	t.Helper()
	return must[[]byte](t)(Encrypt(t.Context(), k, plaintext, o))
}

// wantErr reports any error but the one wanted, and more so none.
func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// split takes an object apart.
func split(t testing.TB, object []byte) (header, body []byte) {
	t.Helper()
	header = must[[]byte](t)(ReadHeader(bytes.NewReader(object)))
	return header, object[len(header):]
}
