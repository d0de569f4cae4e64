// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// KeySize is the size in bytes of an AEAD key: AES-256.
const KeySize = 32

// NonceSize is the size in bytes of an AEAD nonce.
const NonceSize = 12

// Overhead is how many bytes longer a ciphertext is than its plaintext.
const Overhead = 16

// maxState bounds the AES-GCM state: 760 bytes on amd64 and arm64 with Go 1.26.
const maxState = 1024

// AEAD is AES-256-GCM with a key schedule and hash table in protected memory.
// It is safe for concurrent use, except Wipe. Make it once per key and keep
// it: making one costs as much as sealing some kilobytes.
type AEAD struct {
	_    [0]func()
	gcm  cipher.AEAD
	home *home // nil when the state isn't placed
	gone atomic.Bool
}

// home is a piece of protected memory for one AES-GCM state at a time. Homes
// are recycled, AEADs never: who uses one after Wipe must not meet another key.
type home struct {
	cell *cell
	gcm  cipher.AEAD // lies in cell
}

// homes recycles homes. One that is dropped, from the pool or with its AEAD,
// wipes itself.
var homes = sync.OnceValue(func() *sync.Pool { return new(sync.Pool) })

// NewAEAD returns AES-256-GCM under a 32-byte key, and an error for a key of
// another size. The caller keeps key and wipes it.
//
// It works under GODEBUG=fips140=only, which refuses AES-GCM with nonces from
// the caller. The exception is this one constructor; what it rests on is that
// every caller's nonces are unique by construction (SP 800-38D, 8.2.1).
func NewAEAD(key *Bytes) (*AEAD, error) {
	a := &AEAD{}
	var err error
	quietly(func() { err = a.expand(key, tested().aead == nil) })
	return a.made(err)
}

// NewBriefAEAD is NewAEAD for the key of one short message, whose text lies in
// ordinary memory at about the same time. It doesn't block signals while it
// expands the key, which is most of NewAEAD's time: a signal in that
// microsecond can leave the key of that one message on a signal stack. Don't
// use it for a key that protects more.
func NewBriefAEAD(key *Bytes) (*AEAD, error) {
	a := &AEAD{}
	err := a.expand(key, tested().aead == nil)
	clearVectors()
	return a.made(err)
}

func (a *AEAD) made(err error) (*AEAD, error) {
	if err != nil {
		return nil, fmt.Errorf("make AES-256-GCM: %w", err)
	}
	return a, nil
}

func (a *AEAD) expand(key *Bytes, placed bool) error {
	if key.Len() != KeySize {
		return fmt.Errorf("key has %d bytes, want %d", key.Len(), KeySize)
	}
	schedule, gcm, err := makeGCM(key)
	if err != nil {
		return err
	}
	if !placed {
		a.gcm = gcm
		return nil
	}
	a.home = settle(gcm)
	a.gcm = a.home.gcm
	Wipe(contents(schedule)) // GCM holds a copy of it
	return nil
}

// settle moves gcm into a home.
func settle(gcm cipher.AEAD) *home {
	if h, ok := homes().Get().(*home); ok {
		// makeGCM always returns the same type, so h.gcm takes what gcm was.
		move(h.cell.block, gcm)
		return h
	}
	h := &home{cell: newCell(len(contents(gcm)))}
	h.gcm = place(gcm, h.cell.block).(cipher.AEAD)
	return h
}

// leave wipes the state in h and keeps h for the next, as cell.end does.
func (h *home) leave() {
	if h.cell.block.level == levelNone {
		h.cell.end()
		return
	}
	Wipe(h.cell.block.bytes())
	homes().Put(h)
}

// makeGCM returns the standard library's objects: the block cipher and the
// AEAD made of it, each with a key schedule on the Go heap.
func makeGCM(key *Bytes) (schedule cipher.Block, gcm cipher.AEAD, err error) {
	fips140.WithoutEnforcement(func() {
		schedule, err = aes.NewCipher(key.view())
		if err != nil {
			return
		}
		gcm, err = cipher.NewGCM(schedule)
	})
	runtime.KeepAlive(key)
	return schedule, gcm, err
}

// Seal encrypts plaintext and appends it with its tag to dst. The nonce has 12
// bytes and must never repeat under this key; one repetition gives away the
// authentication key (SP 800-38D, 8.2.1). dst may be plaintext[:0]. A nonce of
// another size panics.
func (a *AEAD) Seal(dst, nonce, plaintext, aad []byte) []byte {
	out := a.live().Seal(dst, nonce, plaintext, aad)
	clearVectors()
	runtime.KeepAlive(a)
	return out
}

// Open checks and decrypts ciphertext and appends the plaintext to dst. dst
// may be ciphertext[:0]. To keep a decrypted secret off the heap, pass
// x.Expose()[:0] of a Bytes with the right size. A nonce of another size than
// 12 bytes panics: check it where it is parsed.
func (a *AEAD) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	out, err := a.live().Open(dst, nonce, ciphertext, aad)
	clearVectors()
	runtime.KeepAlive(a)
	return out, err
}

// Wipe zeroes the key schedule and gives its memory back. Wiping twice, or
// wiping nil, does nothing; other use after Wipe panics.
func (a *AEAD) Wipe() {
	if a == nil || a.gone.Swap(true) {
		return
	}
	a.gcm = nil
	if a.home != nil {
		a.home.leave()
		a.home = nil
	}
}

func (a *AEAD) live() cipher.AEAD {
	if a.gcm == nil || a.gone.Load() {
		panic("secret: use of an AEAD after Wipe, or of one that was never made")
	}
	return a.gcm
}

// testAEAD reports why AES-GCM can't be placed, or nil. It compares a placed
// object with an ordinary one over lengths around the block size.
func testAEAD() error {
	key := Random(KeySize)
	defer key.Wipe()
	schedule, plain, err := makeGCM(key)
	if err != nil {
		return fmt.Errorf("make AES-256-GCM: %w", err)
	}
	for _, obj := range []any{schedule, plain} {
		if _, err := flatStruct(obj, maxState); err != nil {
			return fmt.Errorf("place AES-256-GCM: %w", err)
		}
	}
	placed := &AEAD{}
	if err := placed.expand(key, true); err != nil {
		return fmt.Errorf("place AES-256-GCM: %w", err)
	}
	defer placed.Wipe()
	defer Wipe(contents(plain))
	defer Wipe(contents(schedule))
	nonce := make([]byte, NonceSize)
	for n := range 4*aes.BlockSize + 2 {
		nonce[0]++
		text, aad := bytes.Repeat([]byte{byte(n)}, n), nonce[:n%NonceSize]
		want := plain.Seal(nil, nonce, text, aad)
		if !bytes.Equal(placed.Seal(nil, nonce, text, aad), want) {
			return errors.New("place AES-256-GCM: ciphertexts differ")
		}
		got, err := placed.Open(nil, nonce, want, aad)
		if err != nil || !bytes.Equal(got, text) {
			return errors.New("place AES-256-GCM: plaintexts differ")
		}
		want[n] ^= 1
		if _, err := placed.Open(nil, nonce, want, aad); err == nil {
			return errors.New("place AES-256-GCM: a wrong tag was accepted")
		}
	}
	return nil
}
