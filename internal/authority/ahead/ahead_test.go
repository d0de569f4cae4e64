// SPDX-License-Identifier: Apache-2.0

package ahead_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"claviger/internal/authority/ahead"
	"claviger/internal/members"
	"claviger/internal/wire"
)

var errEnd = errors.New("the end")

// numbers counts from 0 to n-1, then yields err if there is one.
func numbers(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func double(i int) (int, error) { return 2 * i, nil }

func collect(seq iter.Seq2[int, error]) (out []int, last error) {
	for i, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, i)
	}
	return out, nil
}

// TestMapKeepsTheOrder with work that ends in the reverse of it.
func TestMapKeepsTheOrder(t *testing.T) {
	const n = 500
	var began atomic.Int64
	got, err := collect(ahead.Map(numbers(n, nil), func(i int) (int, error) {
		began.Add(1)
		for range (n - i) * 100 {
			_ = began.Load()
		}
		return double(i)
	}))
	want, _ := collect(numbers(n, nil))
	for i := range want {
		want[i] *= 2
	}
	if err != nil || !slices.Equal(got, want) || began.Load() != n {
		t.Errorf("%v, %v", got, err)
	}
}

// TestMapEndsWithTheFirstError, of the sequence or of the work, after all that
// stands before it.
func TestMapEndsWithTheFirstError(t *testing.T) {
	got, err := collect(ahead.Map(numbers(40, errEnd), double))
	if len(got) != 40 || !errors.Is(err, errEnd) {
		t.Errorf("the sequence's: %d, %v", len(got), err)
	}
	got, err = collect(ahead.Map(numbers(1000, nil), func(i int) (int, error) {
		if i == 40 || i == 41 {
			return 0, errEnd
		}
		return i, nil
	}))
	if len(got) != 40 || !errors.Is(err, errEnd) {
		t.Errorf("the work's: %d, %v", len(got), err)
	}
	seen := 0
	for range ahead.Map(numbers(1000, nil), func(int) (int, error) { return 0, errEnd }) {
		seen++
	}
	if seen != 1 {
		t.Errorf("%d items after an error", seen-1)
	}
}

// TestMapLeavesNothingRunning when its loop is left: a bubble ends only when all
// its goroutines have.
func TestMapLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		for i, err := range ahead.Map(numbers(100_000, nil), double) {
			if i == 20 || err != nil {
				break
			}
		}
	})
}

// TestMapIsBounded: a loop that takes nothing more keeps the rest from being read.
func TestMapIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read atomic.Int64
		endless := func(yield func(int, error) bool) {
			for yield(0, nil) {
				read.Add(1)
			}
		}
		for range ahead.Map(endless, double) {
			synctest.Wait()
			if n := read.Load(); n > 10_000 {
				t.Errorf("%d items were read ahead", n)
			}
			break
		}
	})
}

func newKey(t *testing.T) (members.Key, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return members.Key{Name: "k", Public: der}, key
}

func entry(t *testing.T, keys ...crypto.Signer) []byte {
	t.Helper()
	body := wire.Body{Type: wire.TypeBody, Kind: "key.create", ID: wire.BodyID{1}, Expires: 1}
	out, err := wire.Sign(wire.TypeBody, wire.Marshal(body), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestVerifyMarksOnlyWhatVerifies: admins and servers are known, strangers are
// not, and a false signature of a known key stays unmarked.
func TestVerifyMarksOnlyWhatVerifies(t *testing.T) {
	a, admin := newKey(t)
	s, server := newKey(t)
	_, stranger := newKey(t)
	known := ahead.KeysOf(&members.State{
		Keys:    members.Keys{Keys: []members.Key{a, {Name: "broken", Public: []byte("x")}}},
		Servers: []members.Member{{Server: members.Server{Key: s.Public}}, {Server: members.Server{Key: []byte("x")}}},
	})
	if len(known) != 2 {
		t.Fatalf("%d keys", len(known))
	}
	r := ahead.Parse(wire.Link{}, entry(t, stranger, admin, server))
	if r.Err != nil || r.Body.Kind != "key.create" || r.Signed.Verified() != 0 {
		t.Fatalf("%+v", r)
	}
	if r.Verify(known); r.Signed.Verified() != 0b110 {
		t.Errorf("marks %b", r.Signed.Verified())
	}
	r = ahead.Parse(wire.Link{}, entry(t, admin, server))
	r.Signed.Signatures[0].Value[0] ^= 1
	if r.Verify(known); r.Signed.Verified() != 0b10 {
		t.Errorf("marks %b of a false signature and a good one", r.Signed.Verified())
	}
}

func TestParseKeepsWhatCantBeParsed(t *testing.T) {
	noBody, err := wire.Sign(wire.TypeBody, []byte("no body"))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, []byte("noise"), noBody} {
		r := ahead.Parse(wire.Link{Time: 7}, data)
		if !errors.Is(r.Err, wire.ErrMalformed) || r.Signed != nil || r.Body != nil || r.Link.Time != 7 {
			t.Errorf("%q: %+v", data, r)
		}
		r.Verify(ahead.Keys{})
	}
}
