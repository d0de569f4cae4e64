// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha512"
	"fmt"
	"testing"
)

func BenchmarkBytes(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(32).Wipe()
	}
}

func BenchmarkNewAEAD(b *testing.B) {
	key := Random(KeySize)
	b.ReportAllocs()
	for b.Loop() {
		a, err := NewAEAD(key)
		if err != nil {
			b.Fatal(err)
		}
		a.Wipe()
	}
}

func BenchmarkSeal(b *testing.B) {
	raw := randomBytes(KeySize)
	a, err := NewAEAD(take(raw))
	if err != nil {
		b.Fatal(err)
	}
	std, nonce := stdGCM(b, raw), make([]byte, NonceSize)
	for _, n := range []int{1 << 10, 16 << 10} {
		text, out := make([]byte, n), make([]byte, 0, n+Overhead)
		b.Run(fmt.Sprintf("placed/%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				a.Seal(out, nonce, text, nil)
			}
		})
		b.Run(fmt.Sprintf("heap/%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				std.Seal(out, nonce, text, nil)
			}
		})
	}
}

func BenchmarkHMAC(b *testing.B) {
	raw, text := randomBytes(32), make([]byte, 100)
	m := NewHMAC(take(raw))
	b.Run("placed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Sum(text)
		}
	})
	b.Run("heap", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := hmac.New(sha512.New, raw)
			h.Write(text)
			h.Sum(nil)
		}
	})
}

func BenchmarkNewHMAC(b *testing.B) {
	key := Random(32)
	b.ReportAllocs()
	for b.Loop() {
		NewHMAC(key).Wipe()
	}
}

func BenchmarkExpand(b *testing.B) {
	raw := randomBytes(32)
	key, info := take(raw), make([]byte, 80)
	m := NewHMAC(key)
	b.Run("placed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Expand(key, info, 32).Wipe()
		}
	})
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Expand(info, 32).Wipe()
		}
	})
	b.Run("heap", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := hkdf.Expand(sha512.New, raw, string(info), 32); err != nil {
				b.Fatal(err)
			}
		}
	})
}
