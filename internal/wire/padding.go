// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Padding says whether messages are padded before they are sealed, so that who
// carries them sees one of a few sizes (docs/spec/wire.md). Who opens needs no
// setting: [Key.Open] takes both forms.
type Padding bool

// Sizes of padded messages, sealed: powers of two from the first class to the
// last, and then the largest that the message's reader takes.
const (
	FirstSizeClass = 4 << 10
	LastSizeClass  = 256 << 10
)

// padMark begins a padded plaintext. No message begins with it: all are CBOR
// arrays, some tagged.
const padMark = 0x00

// padHead is the mark, and the message's length in 32 bits.
const padHead = 5

// ErrNoSizeClass means that a message is larger than its largest size class.
var ErrNoSizeClass = errors.New("message is too large to be padded")

// Seal is [Seal], after padding if p says so.
func (p Padding) Seal(public []byte, typ string, info Hash, plaintext []byte) ([]byte, error) {
	if !p {
		return Seal(public, typ, info, plaintext)
	}
	padded, err := pad(typ, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", typ, err)
	}
	defer clear(padded) // it may hold keys
	return Seal(public, typ, info, padded)
}

// largest is what readers take of a sealed message of a type; 0 if such are never
// padded.
func largest(typ string) int {
	switch typ {
	case TypeRequest, TypeEnroll, TypeRenew:
		return MaxSealedSize
	case TypeRelease:
		return MaxRelease + 2<<10
	case TypeEnrolled:
		return MaxEnroll + 2<<10
	case TypeAck:
		return MaxAck
	}
	return 0
}

// sizeClass is the smallest that holds a sealed message of this size; false if
// none does.
func sizeClass(typ string, sealed int) (int, bool) {
	most := largest(typ)
	class := max(FirstSizeClass, 1<<bits.Len(uint(sealed-1)))
	if class > LastSizeClass || class > most {
		class = most
	}
	return class, sealed <= class
}

// sealedSize is how large a plaintext is as a sealed message.
func sealedSize(typ string, plaintext int) int {
	ct := plaintext + 16
	return 1 + headSize(len(typ)) + len(typ) + headSize(encSize) + encSize + headSize(ct) + ct
}

// headSize is that of a CBOR text's or byte string's length (RFC 8949, section 3).
func headSize(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

func pad(typ string, message []byte) ([]byte, error) {
	size := padHead + len(message)
	class, ok := sizeClass(typ, sealedSize(typ, size))
	if !ok {
		return nil, ErrNoSizeClass
	}
	for sealedSize(typ, size) < class {
		// A longer ciphertext may have a longer head; no class falls between.
		size += max(1, class-sealedSize(typ, size)-2)
	}
	out := make([]byte, padHead, size)
	out[0] = padMark
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	return append(out, message...)[:size], nil
}

// unpad returns the message in an opened plaintext, a part of it. There is one
// padded form of a message and no other is taken.
func unpad(typ string, plaintext []byte) ([]byte, error) {
	if largest(typ) == 0 || len(plaintext) == 0 || plaintext[0] != padMark {
		return plaintext, nil
	}
	if len(plaintext) < padHead {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	n := uint64(binary.BigEndian.Uint32(plaintext[1:]))
	rest := plaintext[padHead:]
	if n > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	class, ok := sizeClass(typ, sealedSize(typ, padHead+int(n)))
	if !ok || sealedSize(typ, len(plaintext)) != class {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	for _, b := range rest[n:] {
		if b != 0 {
			return nil, fmt.Errorf("%w: padding", ErrMalformed)
		}
	}
	return rest[:n:n], nil
}
