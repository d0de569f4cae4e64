// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"

	"claviger/internal/wire"
)

// field is GF(2^128) as GCM has it (SP 800-38D, section 6.3), with the bits of a
// block turned round so that bit i of the number is the coefficient of x^i.
type field struct{}

var modulus = new(big.Int).SetBits([]big.Word{0x87, 0, 1}) // x^128 + x^7 + x^2 + x + 1

func number(block []byte) *big.Int {
	turned := make([]byte, 16)
	for i := range 128 {
		if block[i/8]>>(7-i%8)&1 == 1 {
			turned[15-i/8] |= 1 << (i % 8)
		}
	}
	return new(big.Int).SetBytes(turned)
}

func block(n *big.Int) []byte {
	out := make([]byte, 16)
	for i := range 128 {
		out[i/8] |= byte(n.Bit(i)) << (7 - i%8)
	}
	return out
}

func (field) add(a, b *big.Int) *big.Int { return new(big.Int).Xor(a, b) }

func (field) mul(a, b *big.Int) *big.Int {
	z := new(big.Int)
	for i := 127; i >= 0; i-- {
		z.Lsh(z, 1)
		if z.Bit(128) == 1 {
			z.Xor(z, modulus)
		}
		if b.Bit(i) == 1 {
			z.Xor(z, a)
		}
	}
	return z
}

// inverse is a^(2^128-2).
func (f field) inverse(a *big.Int) *big.Int {
	out := big.NewInt(1)
	for range 127 {
		a = f.mul(a, a)
		out = f.mul(out, a)
	}
	return out
}

// chunkKey is the AES-GCM key and nonce of a body's first chunk: C2SP
// chunked-encryption, from the data key, the salt and the body's context.
type chunkKey struct {
	aead cipher.AEAD
	raw  cipher.Block
	base []byte
}

func newChunkKey(t *testing.T, dek, salt []byte) chunkKey {
	t.Helper()
	context := wire.Sum("body", []byte{1}, nil)
	info := slices.Concat([]byte("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"), salt, context[:])
	out, err := hkdf.Expand(sha512.New, dek, string(info), 44)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := aes.NewCipher(out[:32])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(raw)
	if err != nil {
		t.Fatal(err)
	}
	return chunkKey{aead, raw, out[32:]}
}

func (k chunkKey) h() *big.Int {
	out := make([]byte, 16)
	k.raw.Encrypt(out, out)
	return number(out)
}

// tag is GCM's tag of whole blocks.
func (k chunkKey) tag(ct []byte) *big.Int {
	var f field
	h, y := k.h(), new(big.Int)
	for b := range slices.Chunk(ct, 16) {
		y = f.mul(f.add(y, number(b)), h)
	}
	length := make([]byte, 16)
	length[14], length[15] = byte(len(ct)*8>>8), byte(len(ct)*8)
	y = f.mul(f.add(y, number(length)), h)
	mask := make([]byte, 16)
	k.raw.Encrypt(mask, slices.Concat(k.base, []byte{0, 0, 0, 1}))
	return f.add(y, number(mask))
}

// salamander is a chunk that AES-GCM takes under both keys (Dodis, Grubbs,
// Ristenpart and Woodage, "Fast message franking", 2018): one block is free, and
// a tag is linear in it.
func salamander(a, b chunkKey, blocks int) []byte {
	var f field
	ct := bytes.Repeat([]byte{0x5a}, blocks*16)
	free := ct[len(ct)-16:]
	clear(free)
	gap := f.add(a.tag(ct), b.tag(ct))
	slope := f.add(f.mul(a.h(), a.h()), f.mul(b.h(), b.h()))
	copy(free, block(f.mul(gap, f.inverse(slope))))
	return append(ct, block(a.tag(ct))...)
}
