// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"runtime"
	"sync"
)

// HMAC is HMAC-SHA512 (FIPS 198-1) under one key, of which only the two
// chaining values that stand for it are kept, in protected memory. It is safe
// for concurrent use, except Wipe.
type HMAC struct {
	_     [0]func()
	state *Bytes
}

// hashers recycles hashers: each is a kilobyte of scarce memory.
var hashers = sync.OnceValue(func() *sync.Pool {
	return &sync.Pool{New: func() any { return newHasher(tested().layout) }}
})

// withHasher runs f with a hasher of its own and cleans that afterwards.
func withHasher(f func(h *hasher)) {
	h := hashers().Get().(*hasher)
	f(h)
	h.clean()
	clearVectors()
	hashers().Put(h)
}

// withKey is withHasher for operations that set up a key.
func withKey(f func(h *hasher)) { withHasher(func(h *hasher) { quietly(func() { f(h) }) }) }

// NewHMAC returns HMAC-SHA512 under key, of any length. The caller keeps key
// and wipes it.
func NewHMAC(key *Bytes) *HMAC {
	m := &HMAC{state: New(macState)}
	withKey(func(h *hasher) { h.key(m.state.view(), key.view()) })
	runtime.KeepAlive(key)
	return m
}

// Sum returns the MAC of the parts, one after the other; where they are joined
// makes no difference, so the caller frames them. The result lies in ordinary
// memory: to derive a key use Expand.
func (m *HMAC) Sum(parts ...[]byte) [64]byte {
	var out [64]byte
	withHasher(func(h *hasher) { h.mac(out[:], m.state.view(), parts...) })
	runtime.KeepAlive(m)
	return out
}

// Expand is the function Expand under a key used many times: the key's state
// isn't computed again.
func (m *HMAC) Expand(info []byte, n int) *Bytes {
	out := New(n)
	withHasher(func(h *hasher) { h.expand(out.view(), m.state.view(), info) })
	runtime.KeepAlive(m)
	return out
}

// Wipe zeroes the key's state and gives its memory back. Wiping twice, or
// wiping nil, does nothing; other use after Wipe panics.
func (m *HMAC) Wipe() {
	if m == nil {
		return
	}
	m.state.Wipe()
}
