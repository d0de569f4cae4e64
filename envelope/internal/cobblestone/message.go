// SPDX-License-Identifier: Apache-2.0

package cobblestone

import (
	"encoding/binary"

	"claviger/internal/secret"
)

// Message is the state of one message: its AEAD, base nonce, salt and
// commitment. It is safe for concurrent use, except Wipe.
type Message struct {
	aead   *secret.AEAD
	base   [nonceSize]byte
	prefix [PrefixSize]byte
}

// Prefix returns the PrefixSize bytes that stand before the first chunk.
func (m *Message) Prefix() []byte { return append([]byte(nil), m.prefix[:]...) }

// Wipe forgets the message's key. Later calls of SealRun and OpenRun panic.
func (m *Message) Wipe() { m.aead.Wipe() }

// SealRun appends to dst the sealed chunks of plain, the first of which gets
// the number first. With last, a final short chunk (perhaps empty) ends the
// message; without, plain must be whole chunks. It returns ErrTooLong past the
// last chunk number. Plain and dst must not overlap.
//
// A number must not be sealed twice in one message.
func (m *Message) SealRun(dst []byte, first int64, plain []byte, last bool) ([]byte, error) {
	chunks := int64(len(plain) / ChunkSize)
	if last {
		chunks++
	} else if len(plain)%ChunkSize != 0 {
		panic("cobblestone: a run before the last has whole chunks only")
	}
	if first < 0 || first > maxChunks-chunks {
		return nil, ErrTooLong
	}
	dst = grow(dst, len(plain)+int(chunks)*TagSize)
	room := nonceRoom(first, chunks)
	for i := range chunks {
		n := min(ChunkSize, len(plain))
		dst = m.aead.Seal(dst, m.nonce(room, first+i), plain[:n], nil)
		plain = plain[n:]
	}
	return dst, nil
}

// OpenRun appends to dst the plaintext of sealed chunks, the first of which
// has the number first. With last, the run must end with a short chunk; without,
// it must be whole chunks. It returns ErrMessage, and wipes what it wrote, if
// any chunk isn't authentic in its place. Sealed and dst must not overlap.
func (m *Message) OpenRun(dst []byte, first int64, sealed []byte, last bool) ([]byte, error) {
	chunks := int64(len(sealed) / SealedChunkSize)
	rest := len(sealed) % SealedChunkSize
	if last != (rest != 0) || (last && rest < TagSize) {
		return nil, ErrMessage
	}
	if last {
		chunks++
	}
	if first < 0 || first > maxChunks-chunks {
		return nil, ErrMessage
	}
	start := len(dst)
	dst = grow(dst, len(sealed)-int(chunks)*TagSize)
	room := nonceRoom(first, chunks)
	for i := range chunks {
		n := min(SealedChunkSize, len(sealed))
		out, err := m.aead.Open(dst, m.nonce(room, first+i), sealed[:n], nil)
		if err != nil {
			secret.Wipe(dst[start:])
			return nil, ErrMessage
		}
		dst, sealed = out, sealed[n:]
	}
	return dst, nil
}

// nonceRoom is what nonce writes to: a slice for each run, as runs may go on
// side by side. A message of one chunk needs none.
func nonceRoom(first, chunks int64) []byte {
	if first+chunks <= 1 {
		return nil
	}
	return make([]byte, nonceSize)
}

// nonce returns the nonce of a chunk: the base nonce XOR the big-endian number.
func (m *Message) nonce(room []byte, chunk int64) []byte {
	if chunk == 0 {
		return m.base[:]
	}
	copy(room, m.base[:])
	tail := room[nonceSize-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^uint64(chunk))
	return room
}

// grow makes room for n more bytes, so that appending chunk by chunk never
// leaves plaintext behind in an outgrown array.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	bigger := make([]byte, len(dst), len(dst)+n)
	copy(bigger, dst)
	return bigger
}
