// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"runtime"
)

const (
	hashSize  = sha512.Size      // 64
	hashBlock = sha512.BlockSize // 128

	// macState is the size of an HMAC key as this package holds it: the SHA-512
	// chaining values after key⊕ipad and after key⊕opad (FIPS 198-1, section 6:
	// to be protected like the key). Where SHA-512 can't be placed it is the key
	// itself, padded to a block.
	macState = 2 * hashSize
)

// sha512Layout is what has to be known of the standard library's SHA-512 to
// run it on protected memory. It is found out, not assumed: see probeSHA512.
type sha512Layout struct {
	// marshaled is the saved state after one block of zeros; the chaining value
	// lies at [chain:chain+64], big-endian, the length in the last 8 bytes.
	marshaled []byte
	chain     int
	// fresh is the struct as sha512.New makes it.
	fresh []byte
}

// A hasher computes HMAC-SHA512 on a block of its own, which holds the running
// SHA-512 and everything put into or taken out of it. crypto/hmac would leave
// key⊕ipad, key⊕opad and their states on the heap with every call. It is not
// safe for concurrent use.
type hasher struct {
	layout *sha512Layout // nil: compute with crypto/hmac
	block  *block
	sha    hash.Hash
	save   encoding.BinaryAppender
	load   encoding.BinaryUnmarshaler
	len    uint64 // bytes hashed, the saved block included

	state []byte // macState bytes for the use of one operation
	chunk []byte // one block: padded key, padding, pieces of messages
	inner []byte // inner digest, or T(i) of HKDF
	saved []byte // marshaled SHA-512
}

// The parts of a hasher's block.
const (
	atState    = 256
	atChunk    = atState + macState
	atInner    = atChunk + hashBlock
	atSaved    = atInner + hashSize
	hasherSize = 1024
)

// newHasher returns a hasher whose memory is wiped when nobody can reach it.
func newHasher(layout *sha512Layout) *hasher {
	h := &hasher{layout: layout, block: memory().alloc(hasherSize)}
	mem := h.block.bytes()
	h.state = mem[atState:atChunk:atChunk]
	h.chunk = mem[atChunk:atInner:atInner]
	h.inner = mem[atInner:atSaved:atSaved]
	h.saved = mem[atSaved:]
	if layout != nil {
		h.sha = place(sha512.New(), h.block).(hash.Hash)
		h.save = h.sha.(encoding.BinaryAppender)
		h.load = h.sha.(encoding.BinaryUnmarshaler)
	}
	runtime.AddCleanup(h, func(b *block) { memory().release(b) }, h.block)
	return h
}

// clean wipes what the last operation left and makes the hasher fit for the
// next.
func (h *hasher) clean() {
	clear(h.block.bytes())
	if h.layout != nil {
		copy(h.block.bytes(), h.layout.fresh)
	}
	runtime.KeepAlive(h)
}

// key computes the HMAC state of a key into dst (macState bytes).
func (h *hasher) key(dst, key []byte) {
	if len(key) > hashBlock {
		h.digest(h.inner, key)
		key = h.inner
	}
	clear(h.chunk)
	copyBytes(h.chunk, key)
	if h.layout == nil {
		copyBytes(dst, h.chunk)
		return
	}
	for i, pad := range []byte{0x36, 0x36 ^ 0x5c} {
		for j := range h.chunk {
			h.chunk[j] ^= pad
		}
		h.reset()
		h.write(h.chunk)
		h.chaining(dst[i*hashSize : (i+1)*hashSize])
	}
	h.scrub()
}

// mac computes HMAC-SHA512 over the parts under a state made by key. dst has
// 64 bytes and may be part of the hasher's block, h.inner included.
func (h *hasher) mac(dst, state []byte, parts ...[]byte) {
	if h.layout == nil {
		h.plainMAC(dst, state, parts)
		return
	}
	h.restore(state[:hashSize])
	for _, p := range parts {
		h.absorb(p)
	}
	h.finish(h.inner)
	h.restore(state[hashSize:])
	h.absorb(h.inner)
	h.finish(dst)
}

// digest computes plain SHA-512 of p into dst.
func (h *hasher) digest(dst, p []byte) {
	if h.layout == nil {
		sum := sha512.Sum512(p)
		copyBytes(dst, sum[:])
		Wipe(sum[:])
		return
	}
	h.reset()
	h.absorb(p)
	h.finish(dst)
	h.scrub()
}

func (h *hasher) reset() {
	h.sha.Reset()
	h.len = 0
}

func (h *hasher) write(p []byte) {
	// hash.Hash: Write never returns an error.
	_, _ = h.sha.Write(p)
	h.len += uint64(len(p))
}

// absorb writes p by way of the block. Without the copy every message would
// escape to the heap, since the compiler can't see what an interface keeps.
func (h *hasher) absorb(p []byte) {
	for len(p) > 0 {
		n := min(len(p), hashBlock)
		copyBytes(h.chunk[:n], p[:n])
		h.write(h.chunk[:n])
		p = p[n:]
	}
}

// finish appends the padding of FIPS 180-4, 5.1.2 and reads the digest off the
// chaining value. Sum would do the same on a copy, on the goroutine's stack.
func (h *hasher) finish(dst []byte) {
	total := h.len
	clear(h.chunk)
	h.chunk[0] = 0x80
	fill := int(hashBlock - total%hashBlock) // 1 to 128 bytes up to a full block
	if fill < 17 {
		h.write(h.chunk[:fill])
		h.chunk[0] = 0
		fill = hashBlock
	}
	binary.BigEndian.PutUint64(h.chunk[fill-8:fill], total<<3)
	h.write(h.chunk[:fill])
	h.chaining(dst)
}

// chaining reads the chaining value at a block boundary.
func (h *hasher) chaining(dst []byte) {
	// SHA-512 as the standard library has it never fails to save itself.
	saved, err := h.save.AppendBinary(h.saved[:0])
	if err != nil {
		panic(fmt.Sprintf("secret: save SHA-512: %v", err))
	}
	copyBytes(dst, saved[h.layout.chain:h.layout.chain+hashSize])
}

// restore puts SHA-512 where it stood after one block, with that chaining
// value.
func (h *hasher) restore(chaining []byte) {
	n := copy(h.saved, h.layout.marshaled)
	copyBytes(h.saved[h.layout.chain:], chaining)
	if err := h.load.UnmarshalBinary(h.saved[:n]); err != nil {
		panic(fmt.Sprintf("secret: restore SHA-512: %v", err))
	}
	h.len = hashBlock
}

// scrub hashes a block of zeros after a secret one. The compression function
// keeps its message schedule on the goroutine's stack and in vector registers;
// the same call at the same depth writes over both.
func (h *hasher) scrub() {
	clear(h.chunk)
	h.reset()
	h.write(h.chunk)
}

// plainMAC is mac where SHA-512 can't be placed: correct, with residue. state
// is the padded key.
func (h *hasher) plainMAC(dst, state []byte, parts [][]byte) {
	m := hmac.New(sha512.New, state)
	for _, p := range parts {
		// A copy, for the reason given at absorb.
		c := append([]byte(nil), p...)
		m.Write(c)
		Wipe(c)
	}
	sum := m.Sum(nil)
	copyBytes(dst, sum)
	Wipe(sum)
}

// probeSHA512 finds the layout of the standard library's SHA-512, or says why
// it can't be placed.
func probeSHA512() (*sha512Layout, error) {
	d := sha512.New()
	if _, err := flatStruct(d, atState); err != nil {
		return nil, fmt.Errorf("place SHA-512: %w", err)
	}
	m, canSave := d.(encoding.BinaryAppender)
	_, canLoad := d.(encoding.BinaryUnmarshaler)
	if !canSave || !canLoad {
		return nil, errors.New("place SHA-512: its state can't be saved")
	}
	l := &sha512Layout{fresh: append([]byte(nil), contents(d)...)}
	d.Write(make([]byte, hashBlock))
	saved, err := m.AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("save SHA-512: %w", err)
	}
	// A type mark, the chaining value, the unfinished block, the length.
	l.marshaled, l.chain = saved, len(saved)-8-hashBlock-hashSize
	if l.chain < 0 || len(saved) > hasherSize-atSaved ||
		binary.BigEndian.Uint64(saved[len(saved)-8:]) != hashBlock {
		return nil, errors.New("place SHA-512: its saved state has another form")
	}
	return l, nil
}

// testSHA512 compares HMAC on a placed SHA-512 with crypto/hmac, over lengths
// on both sides of each block boundary. No key is shorter than 112 bits, which
// crypto/hmac refuses under GODEBUG=fips140=only.
func testSHA512(l *sha512Layout) error {
	h := newHasher(l)
	defer h.clean()
	text := make([]byte, 3*hashBlock)
	for i := range text {
		text[i] = byte(i)
	}
	for _, keyLen := range []int{14, 32, 64, 127, 128, 129, 300} {
		key := text[:keyLen]
		h.key(h.state, key)
		for _, n := range []int{0, 1, 63, 64, 110, 111, 112, 127, 128, 129, 255, 256, len(text)} {
			want := hmac.New(sha512.New, key)
			want.Write(text[:n])
			got := make([]byte, hashSize)
			h.mac(got, h.state, text[:n/3], text[n/3:n])
			if !hmac.Equal(got, want.Sum(nil)) {
				return errors.New("place SHA-512: HMACs differ")
			}
		}
	}
	return nil
}
