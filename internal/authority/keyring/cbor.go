// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"claviger/internal/wire"
)

// Major types of CBOR (RFC 8949, section 3.1) and its two truth values.
const (
	majorUint  = 0 << 5
	majorInt   = 1 << 5 // -1-n
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5

	cborFalse = 0xf4
	cborTrue  = 0xf5
)

// packer appends deterministic CBOR (RFC 8949, section 4.2.1): every length and
// number in its shortest form.
type packer struct{ out []byte }

func (p *packer) head(major byte, n uint64) {
	switch {
	case n < 24:
		p.out = append(p.out, major|byte(n))
	case n <= math.MaxUint8:
		p.out = append(p.out, major|24, byte(n))
	case n <= math.MaxUint16:
		p.out = binary.BigEndian.AppendUint16(append(p.out, major|25), uint16(n))
	case n <= math.MaxUint32:
		p.out = binary.BigEndian.AppendUint32(append(p.out, major|26), uint32(n))
	default:
		p.out = binary.BigEndian.AppendUint64(append(p.out, major|27), n)
	}
}

func (p *packer) array(n int)   { p.head(majorArray, uint64(n)) }
func (p *packer) uint(n uint64) { p.head(majorUint, n) }

func (p *packer) int(n int64) {
	if n < 0 {
		p.head(majorInt, uint64(^n))
		return
	}
	p.head(majorUint, uint64(n))
}

func (p *packer) bytes(b []byte) {
	p.head(majorBytes, uint64(len(b)))
	p.out = append(p.out, b...)
}

func (p *packer) text(s string) {
	p.head(majorText, uint64(len(s)))
	p.out = append(p.out, s...)
}

func (p *packer) bool(b bool) {
	if b {
		p.out = append(p.out, cborTrue)
		return
	}
	p.out = append(p.out, cborFalse)
}

// unpacker reads what a packer wrote, and nothing else. The first thing that is
// otherwise sets bad; everything after it reads as zero.
type unpacker struct {
	in  string
	bad bool
}

func (u *unpacker) fail() {
	u.in, u.bad = "", true
}

// take cuts n bytes off.
func (u *unpacker) take(n uint64) string {
	if n > uint64(len(u.in)) {
		u.fail()
		return ""
	}
	out := u.in[:n]
	u.in = u.in[n:]
	return out
}

// head reads one head: its major type and its number, which must be in the
// shortest form.
func (u *unpacker) head() (major byte, n uint64) {
	if len(u.in) == 0 {
		u.fail()
		return 0xff, 0
	}
	first := u.in[0]
	u.in = u.in[1:]
	if small := first & 0x1f; small < 24 {
		return first & 0xe0, uint64(small)
	}
	return first & 0xe0, u.digits(first & 0x1f)
}

// digits reads the number of a head that takes bytes of its own.
func (u *unpacker) digits(small byte) (n uint64) {
	if small > 27 {
		u.fail()
		return 0
	}
	digits := u.take(1 << (small - 24))
	for i := range len(digits) {
		n = n<<8 | uint64(digits[i])
	}
	if least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[small-24]; n < least {
		u.fail()
	}
	return n
}

func (u *unpacker) of(major byte) uint64 {
	got, n := u.head()
	if got != major {
		u.fail()
		return 0
	}
	return n
}

// array holds that an array of n elements begins here.
func (u *unpacker) array(n uint64) {
	if u.of(majorArray) != n {
		u.fail()
	}
}

// list reads how many elements follow, each of which takes at least least bytes.
func (u *unpacker) list(least int) int {
	n := u.of(majorArray)
	if n > uint64(len(u.in)/least) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) uint() uint64 { return u.of(majorUint) }

func (u *unpacker) int() int64 {
	major, n := u.head()
	switch {
	case n > math.MaxInt64:
	case major == majorUint:
		return int64(n)
	case major == majorInt:
		return ^int64(n)
	}
	u.fail()
	return 0
}

// bytes reads exactly len(into) bytes.
func (u *unpacker) bytes(into []byte) {
	if u.of(majorBytes) != uint64(len(into)) {
		u.fail()
	}
	copy(into, u.take(uint64(len(into))))
}

// text reads a text. It shares the memory of what it is read from.
func (u *unpacker) text() string {
	s := u.take(u.of(majorText))
	if !utf8.ValidString(s) {
		u.fail()
	}
	return s
}

func (u *unpacker) bool() bool {
	switch b := u.take(1); {
	case u.bad:
	case b[0] == cborTrue:
		return true
	case b[0] != cborFalse:
		u.fail()
	}
	return false
}

// malformed is wire's one error of decoders, if anything was wrong.
func (u *unpacker) malformed() error {
	if u.bad {
		return wire.ErrMalformed
	}
	return nil
}
