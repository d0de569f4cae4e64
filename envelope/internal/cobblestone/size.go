// SPDX-License-Identifier: Apache-2.0

package cobblestone

const (
	// KeySize is the size of an input key in bytes.
	KeySize = 32
	// PrefixSize is what stands before the first chunk: salt and commitment.
	PrefixSize = saltSize + commitmentSize
	// ChunkSize is the plaintext size of every chunk but the last.
	ChunkSize = 16 << 10
	// TagSize is what sealing adds to each chunk.
	TagSize = 16
	// SealedChunkSize is the size of every sealed chunk but the last.
	SealedChunkSize = ChunkSize + TagSize
	// MaxPlain is the largest plaintext: 2^38 chunks, the last one a byte short.
	MaxPlain int64 = maxChunks*ChunkSize - 1

	saltSize       = 24
	commitmentSize = 32
	nonceSize      = 12
	maxChunks      = 1 << 38
)

// SealedSize is the size in bytes of the message that holds plain bytes of
// plaintext. It returns ErrTooLong if plain is negative or above MaxPlain.
func SealedSize(plain int64) (int64, error) {
	if plain < 0 || plain > MaxPlain {
		return 0, ErrTooLong
	}
	return PrefixSize + plain + TagSize*(plain/ChunkSize+1), nil
}

// PlainSize is the size in bytes of the plaintext in a message of the given
// size. It returns ErrMessage for a size that no message has. The result is a
// claim until the final chunk was opened.
func PlainSize(sealed int64) (int64, error) {
	chunks := sealed - PrefixSize
	if chunks < 0 || chunks/SealedChunkSize >= maxChunks {
		return 0, ErrMessage
	}
	last := chunks % SealedChunkSize
	if last < TagSize {
		return 0, ErrMessage
	}
	return chunks/SealedChunkSize*ChunkSize + last - TagSize, nil
}

// Offset is where in a message the sealed chunk with the given number begins.
func Offset(chunk int64) int64 { return PrefixSize + chunk*SealedChunkSize }
