// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long the memory of a dropped value stays untouched once a
// caller has seen it through Expose. The garbage collector doesn't know that
// a slice from Expose needs its Bytes; wiping at once could turn the key under
// a running computation into zeros, silently. Wipe doesn't wait.
const grace = time.Minute

// memory is the process's arena. It is made on first use and never replaced.
var memory = sync.OnceValue(func() *arena { return newArena(systemMapper()) })

// Bytes is a secret of fixed size outside the Go heap. The zero value holds
// nothing; make one with New, Random, Take or a derivation. Use it by pointer
// and don't copy it (go vet reports copies).
//
// All methods but Wipe may be called concurrently. After Wipe every method but
// Wipe itself and the redacting ones panics.
type Bytes struct {
	_    [0]func() // values don't compare with ==; see Equal
	cell *cell
	n    int
	gone atomic.Bool
}

// New returns n zero bytes. A negative n panics, as make does.
func New(n int) *Bytes {
	if n < 0 {
		panic("secret: negative size")
	}
	return &Bytes{n: n, cell: newCell(n)}
}

// Random returns n bytes from crypto/rand.
func Random(n int) *Bytes {
	b := New(n)
	// Since Go 1.24 it returns no error: it aborts the process instead.
	rand.Read(b.view())
	clearVectors()
	runtime.KeepAlive(b)
	return b
}

// Take copies src and wipes it. Copies of src made before, by append for
// instance, are out of its reach.
func Take(src []byte) *Bytes {
	b := New(len(src))
	copyBytes(b.view(), src)
	Wipe(src)
	runtime.KeepAlive(b)
	return b
}

// Len returns the size in bytes.
func (b *Bytes) Len() int {
	b.check()
	return b.n
}

// Expose returns the secret itself, not a copy, for a call that needs a slice.
// Don't keep it, don't convert it to a string, and keep b reachable while it
// is in use (a later call on b or runtime.KeepAlive does): after b.Wipe the
// memory is another secret's. Appending to it copies the secret to the heap.
// Every use is a place to review; `grep Expose` lists them.
func (b *Bytes) Expose() []byte {
	v := b.view()
	if !b.cell.block.exposed.Load() {
		b.cell.block.exposed.Store(true)
	}
	return v
}

// Clone returns an independent copy.
func (b *Bytes) Clone() *Bytes {
	c := New(b.Len())
	copyBytes(c.view(), b.view())
	runtime.KeepAlive(b)
	runtime.KeepAlive(c)
	return c
}

// Equal reports whether both hold the same bytes, in time that depends on
// their lengths alone.
func (b *Bytes) Equal(o *Bytes) bool {
	eq := subtle.ConstantTimeCompare(b.view(), o.view()) == 1
	runtime.KeepAlive(b)
	runtime.KeepAlive(o)
	return eq
}

// Wipe zeroes the secret and gives its memory back. Wiping twice, or wiping
// nil, does nothing. It must not run at the same time as a use of b.
func (b *Bytes) Wipe() {
	if b == nil || b.cell == nil || b.gone.Swap(true) {
		return
	}
	b.cell.end()
}

// view is Expose for this package, which keeps b reachable itself.
func (b *Bytes) view() []byte {
	b.check()
	return b.cell.block.bytes()[:b.n:b.n]
}

func (b *Bytes) check() {
	if b.cell == nil {
		panic("secret: use of a Bytes that was never made")
	}
	if b.gone.Load() {
		panic("secret: use of a Bytes after Wipe")
	}
}

// Wipe zeroes an ordinary slice that held a secret for a moment. It isn't
// inlined, so that no compiler finds the zeros unused and drops them.
//
//go:noinline
func Wipe(p []byte) {
	clear(p)
}

// copyBytes copies a key without vector registers: those are saved to ordinary
// memory in 16-byte pieces when a signal interrupts the thread.
//
// It copies words, and the rest byte by byte.
//
//go:noinline
func copyBytes(dst, src []byte) {
	dst = dst[:len(src)]
	for len(src) >= 8 {
		binary.NativeEndian.PutUint64(dst, binary.NativeEndian.Uint64(src))
		dst, src = dst[8:], src[8:]
	}
	//lint:ignore S1001 copy would use vector registers
	for i, c := range src {
		dst[i] = c
	}
}
