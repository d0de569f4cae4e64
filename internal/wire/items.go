// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"strings"
)

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorNegative = 1
	majorBytes    = 2
	majorText     = 3
	majorArray    = 4
	majorMap      = 5
)

// items reads deterministic CBOR item by item, in one pass and without copying: for
// messages of one shape that are read so often that the general decoder shows. What
// isn't as it should be makes it bad, and everything it returns from then on empty.
type items struct {
	rest []byte
	bad  bool
}

// over reports whether all was read and nothing was bad.
func (r *items) over() bool { return !r.bad && len(r.rest) == 0 }

// fail makes r bad.
func (r *items) fail() { r.rest, r.bad = nil, true }

// literal takes exactly these bytes.
func (r *items) literal(want string) {
	if !strings.HasPrefix(string(r.rest[:min(len(want), len(r.rest))]), want) {
		r.fail()
		return
	}
	r.rest = r.rest[len(want):]
}

// head takes the first bytes of an item of a major type: its number in the
// shortest form, which is the only one (RFC 8949, section 4.2.1).
func (r *items) head(major byte) (n uint64) {
	if len(r.rest) == 0 || r.rest[0]>>5 != major {
		r.fail()
		return 0
	}
	short := r.rest[0] & 31
	if short < 24 {
		r.rest = r.rest[1:]
		return uint64(short)
	}
	size := 1 << (short - 24)
	if short > 27 || len(r.rest) < 1+size {
		r.fail()
		return 0
	}
	var wide [8]byte
	copy(wide[8-size:], r.rest[1:1+size])
	n = binary.BigEndian.Uint64(wide[:])
	// Security: a longer form of the same number would be another message that
	// says the same.
	if least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[short-24]; n < least {
		r.fail()
		return 0
	}
	r.rest = r.rest[1+size:]
	return n
}

// str takes a byte or text string of at most limit bytes. Whether text is UTF-8 is
// not looked at.
func (r *items) str(major byte, limit int) (s []byte) {
	n := r.head(major)
	if n > uint64(min(limit, len(r.rest))) {
		r.fail()
	}
	if r.bad {
		return nil
	}
	s, r.rest = r.rest[:n:n], r.rest[n:]
	return s
}
