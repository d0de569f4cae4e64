// SPDX-License-Identifier: Apache-2.0

package root

import (
	"runtime"

	"claviger/internal/secret"
)

// Shamir's secret sharing (Communications of the ACM 22, 1979) over GF(2^8),
// byte by byte. For each byte of the secret a polynomial of degree k-1 has the
// secret byte as its value at 0 and uniform random coefficients; the share of
// index x is its value at x. Any k values fix the polynomial; for k-1 of them
// every secret byte has exactly one polynomial through them, so they say
// nothing.
//
// The field is GF(2)[z]/(z^8+z^4+z^3+z+1), the one of AES (FIPS 197, 4.2).
// Arithmetic is branch-free and indexes no table: tables indexed by secrets
// leak them through the cache (CVE-2023-25000).

// mul multiplies in the field: shift, add where the bit of b is set, reduce.
func mul(a, b byte) byte {
	var product byte
	for range 8 {
		product ^= -(b & 1) & a
		a = a<<1 ^ -(a>>7)&0x1b
		b >>= 1
	}
	return product
}

// inv returns a^254, which is 1/a for every a but 0.
func inv(a byte) byte {
	result := byte(1)
	for range 7 { // 254 = 2+4+…+128
		a = mul(a, a)
		result = mul(result, a)
	}
	return result
}

// split returns the values at x = 1…n of a random polynomial of degree k-1
// through value. It wants 1 ≤ k ≤ n ≤ 255. The caller wipes the shares.
func split(value *secret.Bytes, k, n int) []*secret.Bytes {
	size := value.Len()
	coefficients := secret.Random((k - 1) * size) // the highest may be 0: forbidding that would tell something
	defer coefficients.Wipe()
	shares := make([]*secret.Bytes, n)
	for i := range shares {
		shares[i] = secret.New(size)
		evaluate(shares[i].Expose(), value.Expose(), coefficients.Expose(), byte(i+1))
	}
	return shares
}

// evaluate sets out to the polynomials' values at x, by Horner's rule. constants
// holds their values at 0, coefficients one row of len(constants) bytes for each
// power of x from 1 on.
func evaluate(out, constants, coefficients []byte, x byte) {
	size := len(constants)
	clear(out)
	for row := len(coefficients) - size; row >= 0; row -= size {
		for i := range out {
			out[i] = mul(out[i]^coefficients[row+i], x)
		}
	}
	for i := range out {
		out[i] ^= constants[i]
	}
}

// combine returns the value at 0 of the polynomials through the given points
// (Lagrange's formula). The xs are different, not 0, and as many as the shares.
func combine(xs []byte, shares []*secret.Bytes) *secret.Bytes {
	value := secret.New(shares[0].Len())
	out := value.Expose()
	for j, share := range shares {
		weight := byte(1) // ∏ x_m/(x_m-x_j); minus is plus here
		for m := range xs {
			if m != j {
				weight = mul(weight, mul(xs[m], inv(xs[m]^xs[j])))
			}
		}
		for i, y := range share.Expose() {
			out[i] ^= mul(weight, y)
		}
	}
	runtime.KeepAlive(shares)
	return value
}
