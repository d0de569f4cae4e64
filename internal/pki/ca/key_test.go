// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"math/big"
	"testing"

	"claviger/internal/secret"
)

// reference is FIPS 186-5, A.2.1 in big numbers.
func reference(c []byte) *big.Int {
	m := new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1))
	d := new(big.Int).Mod(new(big.Int).SetBytes(c), m)
	return d.Add(d, big.NewInt(1))
}

func number(l limbs) *big.Int {
	var b [32]byte
	for i, v := range l {
		binary.BigEndian.PutUint64(b[24-8*i:], v)
	}
	return new(big.Int).SetBytes(b[:])
}

func TestReduce(t *testing.T) {
	n := elliptic.P256().Params().N
	at := func(delta int64) []byte {
		return new(big.Int).Add(n, big.NewInt(delta)).FillBytes(make([]byte, SeedSize))
	}
	cases := [][]byte{
		make([]byte, SeedSize), bytes.Repeat([]byte{0xff}, SeedSize), at(-2), at(-1), at(0), at(1),
		new(big.Int).Mul(n, n).FillBytes(make([]byte, SeedSize)), new(big.Int).Lsh(big.NewInt(1), 256).FillBytes(make([]byte, SeedSize)),
	}
	for range 2000 {
		c := make([]byte, SeedSize)
		rand.Read(c)
		cases = append(cases, c)
	}
	for _, c := range cases {
		if got, want := number(reduce(c)), reference(c); got.Cmp(want) != 0 {
			t.Fatalf("%x: got %x, want %x", c, got, want)
		}
	}
}

func TestDeriveKeyEdges(t *testing.T) {
	// The smallest and the largest scalar are both keys.
	for _, c := range [][]byte{make([]byte, SeedSize), new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(2)).FillBytes(make([]byte, SeedSize))} {
		want := reference(c)
		key, err := deriveKey(secret.Take(c))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := key.Bytes()
		if err != nil || new(big.Int).SetBytes(raw).Cmp(want) != 0 {
			t.Errorf("got %x, want %x (%v)", raw, want, err)
		}
	}
}
