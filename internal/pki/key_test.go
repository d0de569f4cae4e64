// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/rsa"
	"math/big"
	"testing"
)

// TestRSABounds: making an RSA key of 16,384 bits takes openssl minutes, so only
// its size is made here.
func TestRSABounds(t *testing.T) {
	for bits, want := range map[int]bool{1024: false, 2047: false, 2048: true, 4096: true, 8192: true, 8193: false, 16384: false} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), E: 65537}
		if caKey(key) != want {
			t.Errorf("%d bits: accepted %v", bits, !want)
		}
		if leafKey(key) {
			t.Errorf("%d bits: accepted as a leaf's", bits)
		}
	}
}
