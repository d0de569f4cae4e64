// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"fmt"
	"math/bits"

	"claviger/internal/secret"
)

// limbs are a 256-bit number, least significant first.
type limbs [4]uint64

// deriveKey turns 64 uniform bytes into a P-256 key the way FIPS 186-5, section
// A.2.1 does: d = (c mod (n − 1)) + 1. The appendix asks for 64 bits more than
// the order has; 256 more make the bias 2^−256.
//
// The private key ends in ordinary memory, where crypto/ecdsa wants it; the
// arithmetic before that leaves no further copy and takes the same time for
// every seed.
func deriveKey(seed *secret.Bytes) (*ecdsa.PrivateKey, error) {
	if seed.Len() != SeedSize {
		return nil, fmt.Errorf("seed has %d bytes, want %d", seed.Len(), SeedSize)
	}
	d := reduce(seed.Expose())
	var scalar [32]byte
	defer secret.Wipe(scalar[:])
	for i, l := range d {
		binary.BigEndian.PutUint64(scalar[24-8*i:], l)
	}
	d = limbs{}
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
}

// reduce returns (c mod (n − 1)) + 1 for a big-endian c, bit by bit: double, add
// the next bit, subtract n − 1 if it fits. No branch depends on a bit of c.
func reduce(c []byte) limbs {
	m := orderMinusOne()
	var r limbs
	for _, b := range c {
		for shift := 7; shift >= 0; shift-- {
			r = step(r, uint64(b>>shift)&1, m)
		}
	}
	// r < n − 1, so the sum is at most n − 1 and can't carry out.
	var carry uint64 = 1
	for i := range r {
		r[i], carry = bits.Add64(r[i], 0, carry)
	}
	return r
}

// step returns (2r + bit) mod m for r < m.
func step(r limbs, bit uint64, m limbs) limbs {
	var doubled, less limbs
	carry := bit
	for i := range r {
		doubled[i] = r[i]<<1 | carry
		carry = r[i] >> 63
	}
	var borrow uint64
	for i := range r {
		less[i], borrow = bits.Sub64(doubled[i], m[i], borrow)
	}
	// The difference counts if the doubling overflowed or nothing was borrowed.
	take := -(carry | (borrow ^ 1))
	for i := range r {
		r[i] = less[i]&take | doubled[i]&^take
	}
	return r
}

func orderMinusOne() limbs {
	var buf [32]byte
	elliptic.P256().Params().N.FillBytes(buf[:])
	var n limbs
	for i := range n {
		n[i] = binary.BigEndian.Uint64(buf[24-8*i:])
	}
	n[0]-- // n is odd
	return n
}
