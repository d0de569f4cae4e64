// SPDX-License-Identifier: Apache-2.0

package root

import (
	"math/bits"
	"testing"

	"claviger/internal/secret"
)

// slowMul multiplies polynomials over GF(2) and divides by the field's
// polynomial on paper: nothing shared with mul.
func slowMul(a, b byte) byte {
	var product uint16
	for bit := range 8 {
		if b>>bit&1 == 1 {
			product ^= uint16(a) << bit
		}
	}
	for bit := 14; bit >= 8; bit-- {
		if product>>bit&1 == 1 {
			product ^= 0x11b << (bit - 8)
		}
	}
	return byte(product)
}

func TestField(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			if got, want := mul(byte(a), byte(b)), slowMul(byte(a), byte(b)); got != want {
				t.Fatalf("%#x · %#x = %#x, want %#x", a, b, got, want)
			}
		}
		if a != 0 && slowMul(byte(a), inv(byte(a))) != 1 {
			t.Fatalf("1/%#x = %#x", a, inv(byte(a)))
		}
	}
	if mul(0x57, 0x83) != 0xc1 { // FIPS 197, 4.2
		t.Error("the field is not the one of AES")
	}
}

// TestSplitCombine checks every subset of the shares, of all sizes: those of
// the threshold or more give the secret, smaller ones another value.
func TestSplitCombine(t *testing.T) {
	for _, size := range []struct{ k, n int }{{1, 1}, {1, 3}, {2, 2}, {2, 3}, {3, 5}, {5, 5}, {4, 8}} {
		value := secret.Random(Size)
		shares := split(value, size.k, size.n)
		for subset := uint(1); subset < 1<<size.n; subset++ {
			var xs []byte
			var chosen []*secret.Bytes
			for i, share := range shares {
				if subset>>i&1 == 1 {
					xs = append(xs, byte(i+1))
					chosen = append(chosen, share)
				}
			}
			got := combine(xs, chosen).Equal(value)
			if want := bits.OnesCount(subset) >= size.k; got != want {
				t.Errorf("%d of %d, subset %b: recovered %t, want %t", size.k, size.n, subset, got, want)
			}
		}
	}
}

func TestMostShares(t *testing.T) {
	value := secret.Random(Size)
	shares := split(value, 255, 255)
	xs := make([]byte, 255)
	for i := range xs {
		xs[i] = byte(i + 1)
	}
	if !combine(xs, shares).Equal(value) {
		t.Error("255 of 255 don't give the secret")
	}
}

// TestFewerSayNothing counts, for one byte and every secret, how often each
// view of k-1 shares arises over all coefficients: exactly once, whatever the
// secret. The views of two secrets then have the same distribution.
func TestFewerSayNothing(t *testing.T) {
	for _, value := range []byte{0, 1, 0x80, 0xff} {
		for x := 1; x < 256; x++ { // k = 2: one share
			var seen [256]bool
			for c := range 256 {
				seen[evaluated([]byte{value}, []byte{byte(c)}, byte(x))] = true
			}
			for y, once := range seen {
				if !once {
					t.Fatalf("secret %#x: share %d is never %#x", value, x, y)
				}
			}
		}
		seen := make([]bool, 1<<16) // k = 3: two shares
		for c := range 1 << 16 {
			coefficients := []byte{byte(c), byte(c >> 8)}
			first := evaluated([]byte{value}, coefficients, 3)
			second := evaluated([]byte{value}, coefficients, 200)
			seen[int(first)<<8|int(second)] = true
		}
		for view, once := range seen {
			if !once {
				t.Fatalf("secret %#x: the two shares are never %#x", value, view)
			}
		}
	}
}

func evaluated(constants, coefficients []byte, x byte) byte {
	out := []byte{0xaa}
	evaluate(out, constants, coefficients, x)
	return out[0]
}

// TestFreshCoefficients: two splittings of one secret share nothing, and the
// bytes of one don't use one polynomial.
func TestFreshCoefficients(t *testing.T) {
	value := secret.New(Size)
	first, second := split(value, 2, 2), split(value, 2, 2)
	if first[0].Equal(second[0]) {
		t.Error("two splittings gave one share")
	}
	same := true
	for _, b := range first[0].Expose() {
		same = same && b == first[0].Expose()[0]
	}
	if same {
		t.Error("all bytes of a share of zeros are the same")
	}
}

func BenchmarkCombine(b *testing.B) {
	value := secret.Random(Size)
	shares := split(value, 3, 5)
	for b.Loop() {
		combine([]byte{1, 2, 3}, shares[:3]).Wipe()
	}
}
