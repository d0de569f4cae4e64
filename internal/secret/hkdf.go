// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"runtime"
)

// maxExpand is the most HKDF gives: 255 blocks (RFC 5869, 2.3).
const maxExpand = 255 * hashSize

// Extract is HKDF-Extract with SHA-512 (RFC 5869, 2.2): a uniform key of 64
// bytes from input that has the entropy but not the form. A nil or empty salt
// stands for 64 zeros.
func Extract(salt []byte, ikm *Bytes) *Bytes {
	out := New(hashSize)
	withKey(func(h *hasher) { h.extract(out.view(), salt, ikm.view()) })
	runtime.KeepAlive(ikm)
	return out
}

// ExtractSecret is Extract with a salt that is secret too. The result can't be
// computed without either.
func ExtractSecret(salt, ikm *Bytes) *Bytes {
	out := Extract(salt.view(), ikm)
	runtime.KeepAlive(salt)
	return out
}

// Expand is HKDF-Expand with SHA-512 (RFC 5869, 2.3): n bytes from the uniform
// key prk, for the use that info names. n is at most 255*64; more, or less
// than zero, panics. Distinct uses need distinct info: package kdf makes it.
//
// The RFC asks for a prk of at least 64 bytes. Uniform keys of 32 bytes are as
// good here, with 32 bytes of strength: HMAC is a PRF under any uniform key.
func Expand(prk *Bytes, info []byte, n int) *Bytes {
	out := New(n)
	withKey(func(h *hasher) {
		h.key(h.state, prk.view())
		h.expand(out.view(), h.state, info)
	})
	runtime.KeepAlive(prk)
	return out
}

func (h *hasher) extract(dst, salt, ikm []byte) {
	h.key(h.state, salt)
	h.mac(dst, h.state, ikm)
	if h.layout != nil {
		h.scrub() // the input key was hashed as a message
	}
}

// expand fills dst. T(i) lies in h.inner, which mac may read and write, since
// it reads all its parts before it writes.
func (h *hasher) expand(dst, state, info []byte) {
	if len(dst) > maxExpand {
		panic(fmt.Sprintf("secret: Expand to %d bytes, at most %d", len(dst), maxExpand))
	}
	previous := h.inner[:0]
	for i := byte(1); len(dst) > 0; i++ {
		counter := [1]byte{i}
		h.mac(h.inner, state, previous, info, counter[:])
		previous = h.inner
		n := min(len(dst), hashSize)
		copyBytes(dst[:n], h.inner[:n])
		dst = dst[n:]
	}
}
