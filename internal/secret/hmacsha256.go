// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/sha256"
)

// HMACSHA256 is HMAC-SHA256 (RFC 2104) under a key of any length, for protocols
// that ask for it; what is ours takes [HMAC]. The pads lie in protected memory:
// crypto/hmac would leave both on the heap. The hash state is reset, which
// overwrites its chaining value.
func HMACSHA256(key *Bytes, message []byte) [32]byte {
	pad := New(sha256.BlockSize)
	defer pad.Wipe()
	p := pad.Expose()
	if key.Len() <= sha256.BlockSize {
		copy(p, key.Expose())
	} else {
		long := sha256.Sum256(key.Expose())
		copy(p, long[:])
		Wipe(long[:])
	}
	hash := sha256.New()
	defer hash.Reset()
	for i := range p {
		p[i] ^= 0x36
	}
	hash.Write(p)
	hash.Write(message)
	inner := hash.Sum(nil)
	hash.Reset()
	for i := range p {
		p[i] ^= 0x36 ^ 0x5c
	}
	hash.Write(p)
	hash.Write(inner)
	return [32]byte(hash.Sum(nil))
}
