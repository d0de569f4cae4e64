// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"runtime"
	"strconv"

	"claviger/internal/secret"
)

// A share, decrypted, is a text of fixed lines, so that a custodian sees what
// it is and can read it out or type it in:
//
//	claviger root share 1
//	value: 64 hex digits          the share's value of each byte of the secret
//	salt: 64 hex digits           keys the commitment in the custody file
//	sharing: 32 hex digits        which sharing it belongs to
//	set: 64 hex digits            SHA-256 of the custody file's header
//	index: 2                      x of the value
//	threshold: 2                  how many shares open the root
//	shares: 3                     how many there are
//	generation: 1                 of the root
//	fingerprint: 64 hex digits    of the root secret
//	check: 16 hex digits          over all before, against slips of the hand
//
// Hex digits are lower case, numbers have no leading zero. Line breaks may be
// LF or CRLF; the last may be missing or doubled.
const (
	shareTitle    = "claviger root share "
	shareVersion  = 1
	maxShareText  = 1024
	checkSize     = 8
	valueLineSize = len("value: ") + 2*Size + 1
)

// shareText is a parsed share.
type shareText struct {
	value, salt *secret.Bytes
	place       sharePlace
}

// sharePlace is the part of a share that is not secret: where it belongs.
type sharePlace struct {
	sharing     []byte // 16 bytes
	set         []byte // 32 bytes
	index       int    // from 1
	threshold   int
	shares      int
	generation  uint64
	fingerprint []byte // 32 bytes
}

func (s *shareText) wipe() {
	s.value.Wipe()
	s.salt.Wipe()
}

// lines renders the place as it stands in the share.
func (p *sharePlace) lines() []byte {
	out := appendHexLine(nil, "sharing", p.sharing)
	out = appendHexLine(out, "set", p.set)
	out = appendNumberLine(out, "index", uint64(p.index))
	out = appendNumberLine(out, "threshold", uint64(p.threshold))
	out = appendNumberLine(out, "shares", uint64(p.shares))
	out = appendNumberLine(out, "generation", p.generation)
	return appendHexLine(out, "fingerprint", p.fingerprint)
}

func appendHexLine(out []byte, name string, value []byte) []byte {
	return append(appendHex(append(append(out, name...), ": "...), value), '\n')
}

func appendNumberLine(out []byte, name string, value uint64) []byte {
	return append(strconv.AppendUint(append(append(out, name...), ": "...), value, 10), '\n')
}

// encode renders the share into protected memory.
func (s *shareText) encode() *secret.Bytes {
	title := strconv.AppendInt([]byte(shareTitle), shareVersion, 10)
	place := s.place.lines()
	size := len(title) + 1 + valueLineSize + len("salt: ") + 2*saltSize + 1 + len(place)
	text := secret.New(size + len("check: ") + 2*checkSize + 1)
	out := append(append(text.Expose()[:0], title...), '\n')
	out = appendHexLine(out, "value", s.value.Expose())
	out = appendHexLine(out, "salt", s.salt.Expose())
	out = append(out, place...)
	appendHexLine(out, "check", textCheck(out))
	return text
}

// textCheck is a checksum, keyed only because the keyed hash at hand leaves no
// trace of its input in ordinary memory.
func textCheck(text []byte) []byte {
	key := secret.New(Size)
	defer key.Wipe()
	hash := secret.NewHMAC(key)
	defer hash.Wipe()
	sum := hash.Sum(text)
	return sum[:checkSize]
}

var (
	errSealedShare = errors.New("is still encrypted: decrypt it with age -d first")
	errNoShare     = errors.New("is no share of a root")
	errShareNewer  = errors.New("is of a newer version than this program knows")
	errShareForm   = errors.New("is damaged: a line is missing, added or malformed")
	errShareTyped  = errors.New("is damaged: its check line doesn't fit")
)

// parseShare reads a share's text. Its errors say nothing about the content
// and complete a sentence that begins with the share.
func parseShare(text *secret.Bytes) (*shareText, error) {
	lines, err := shareBody(text.Expose())
	runtime.KeepAlive(text)
	if err != nil {
		return nil, err
	}
	defer lines.Wipe()
	r := lineReader{rest: lines.Expose()}
	if err := r.title(); err != nil {
		return nil, err
	}
	s := &shareText{value: r.secret("value"), salt: r.secret("salt")}
	s.place = sharePlace{
		sharing:     r.hex("sharing", sharingSize),
		set:         r.hex("set", Size),
		index:       int(r.number("index", MaxShares)),
		threshold:   int(r.number("threshold", MaxShares)),
		shares:      int(r.number("shares", MaxShares)),
		generation:  r.number("generation", 1<<63-1),
		fingerprint: r.hex("fingerprint", Size),
	}
	covered := lines.Len() - len(r.rest)
	check := r.hex("check", checkSize)
	if r.bad || len(r.rest) != 0 {
		s.wipe()
		return nil, errShareForm
	}
	if subtle.ConstantTimeCompare(check, textCheck(lines.Expose()[:covered])) != 1 {
		s.wipe()
		return nil, errShareTyped
	}
	return s, nil
}

// shareBody copies text with LF line breaks and one at the end.
func shareBody(text []byte) (*secret.Bytes, error) {
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE")) {
		return nil, errSealedShare
	}
	if len(text) == 0 || len(text) > maxShareText {
		return nil, errNoShare
	}
	text = bytes.TrimRight(text, "\r\n")
	size := len(text) - bytes.Count(text, []byte("\r\n")) + 1
	body := secret.New(size)
	out := body.Expose()
	n := 0
	for i, c := range text {
		if c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			continue
		}
		out[n] = c
		n++
	}
	out[size-1] = '\n'
	return body, nil
}

// lineReader takes "name: value" lines from the front of rest. Once a line is
// not as asked it is bad for good, and returns values of the right size.
type lineReader struct {
	rest []byte
	bad  bool
}

// line returns what follows "name: " in the next line.
func (r *lineReader) line(name string) []byte {
	line, rest, found := bytes.Cut(r.rest, []byte("\n"))
	label, value := bytes.CutPrefix(line, []byte(name+": "))
	if !found || !value {
		r.bad = true
		return nil
	}
	r.rest = rest
	return label
}

func (r *lineReader) title() error {
	line, rest, _ := bytes.Cut(r.rest, []byte("\n"))
	number, found := bytes.CutPrefix(line, []byte(shareTitle))
	version, err := parseNumber(number)
	switch {
	case !found || err != nil || version == 0:
		return errNoShare
	case version > shareVersion:
		return errShareNewer
	}
	r.rest = rest
	return nil
}

func (r *lineReader) secret(name string) *secret.Bytes {
	value := secret.New(Size)
	r.hexInto(name, value.Expose())
	return value
}

func (r *lineReader) hex(name string, size int) []byte {
	value := make([]byte, size)
	r.hexInto(name, value)
	return value
}

func (r *lineReader) hexInto(name string, value []byte) {
	digits := r.line(name)
	if len(digits) != 2*len(value) || !decodeHex(value, digits) {
		r.bad = true
	}
}

func (r *lineReader) number(name string, most uint64) uint64 {
	value, err := parseNumber(r.line(name))
	if err != nil || value == 0 || value > most {
		r.bad = true
		return 0
	}
	return value
}

// parseNumber takes decimal digits in the one form that lines writes.
func parseNumber(digits []byte) (uint64, error) {
	value, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || !bytes.Equal(strconv.AppendUint(nil, value, 10), digits) {
		return 0, errNoShare
	}
	return value, nil
}

// appendHex and decodeHex are hex without tables, which secret digits would
// index.
func appendHex(out, value []byte) []byte {
	for _, b := range value {
		out = append(out, hexDigit(b>>4), hexDigit(b&15))
	}
	return out
}

// hexDigit adds '0', and the distance from '9'+1 to 'a' where nibble > 9.
func hexDigit(nibble byte) byte {
	letter := -((9 - nibble) >> 7)
	return nibble + '0' + letter&('a'-'9'-1)
}

// decodeHex decodes len(out) bytes of lower-case hex and reports whether all
// were digits; the time taken doesn't depend on them.
func decodeHex(out, digits []byte) bool {
	bad := byte(0)
	for i := range out {
		high, badHigh := hexNibble(digits[2*i])
		low, badLow := hexNibble(digits[2*i+1])
		out[i] = high<<4 | low
		bad |= badHigh | badLow
	}
	return bad == 0
}

// hexNibble returns the digit's value, and 0 or, for what is no digit, not 0.
func hexNibble(digit byte) (value, bad byte) {
	decimal := inRange(digit, '0', '9')
	letter := inRange(digit, 'a', 'f')
	return decimal&(digit-'0') | letter&(digit-'a'+10), ^(decimal | letter)
}

// inRange returns 0xff if low ≤ c ≤ high, else 0.
func inRange(c, low, high byte) byte {
	outside := (uint16(c)-uint16(low))>>8 | (uint16(high)-uint16(c))>>8
	return ^byte(outside)
}
