// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)

// ParseSealed reads the outside of a sealed message of at most limit bytes. It
// takes and refuses what [Unmarshal] does for a [Sealed], in one pass and without
// copying: the result lies in message. A server does this twice for each message,
// before it knows whom it is from.
func ParseSealed(message []byte, limit int) (s Sealed, err error) {
	if len(message) > limit {
		return s, fmt.Errorf("%w: size", ErrMalformed)
	}
	n, rest, ok := head(message, majorArray)
	var typ []byte
	if ok = ok && n == 3; ok {
		typ, rest, ok = str(rest, majorText)
	}
	if ok {
		s.Enc, rest, ok = str(rest, majorBytes)
	}
	if ok {
		s.CT, rest, ok = str(rest, majorBytes)
	}
	if !ok || len(rest) > 0 || !utf8.Valid(typ) {
		return Sealed{}, fmt.Errorf("%w: not a sealed message", ErrMalformed)
	}
	s.Type = string(typ)
	return s, nil
}

// head takes the first bytes of an item of a major type: its number in the
// shortest form, which is the only one (RFC 8949, section 4.2.1).
func head(data []byte, major byte) (n uint64, rest []byte, ok bool) {
	if len(data) == 0 || data[0]>>5 != major {
		return 0, nil, false
	}
	short := data[0] & 31
	if short < 24 {
		return uint64(short), data[1:], true
	}
	size := 1 << (short - 24)
	if short > 27 || len(data) < 1+size {
		return 0, nil, false
	}
	var wide [8]byte
	copy(wide[8-size:], data[1:1+size])
	n = binary.BigEndian.Uint64(wide[:])
	// Security: a longer form of the same number would be another message that
	// says the same.
	if least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[short-24]; n < least {
		return 0, nil, false
	}
	return n, data[1+size:], true
}

// str takes a byte or text string.
func str(data []byte, major byte) (s, rest []byte, ok bool) {
	n, rest, ok := head(data, major)
	if !ok || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}
