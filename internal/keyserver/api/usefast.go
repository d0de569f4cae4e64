// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/base64"
	"strconv"
)

// plainItems reads the body of POST /v1/use in the form that programs write it:
// known members in lower case, strings of printable ASCII without escapes,
// numbers without signs. Of anything else it says false, and encoding/json
// decides; what it takes, encoding/json would have read alike
// (FuzzPlainItems), at four times the cost.
func plainItems(data []byte) ([]useItem, bool) {
	p := plainReader{rest: data}
	if !p.is('{') || !p.name("items") || !p.is('[') {
		return nil, false
	}
	var items []useItem
	for {
		if len(items) > maxUseItems || !p.is('{') {
			return nil, false
		}
		var item useItem
		for more := true; more; more = p.is(',') {
			if !p.member(&item) {
				return nil, false
			}
		}
		if !p.is('}') {
			return nil, false
		}
		items = append(items, item)
		if !p.is(',') {
			break
		}
	}
	return items, p.is(']') && p.is('}') && p.end()
}

// appendAnswer writes what encoding/json would of a useAnswer, byte for byte
// (FuzzAppendAnswer), at a quarter of the cost. An answer with an error in it, or
// with a name that needs escapes, is left to encoding/json: false.
func appendAnswer(b []byte, items []useResult) ([]byte, bool) {
	b = append(b, `{"schema":1,"items":[`...)
	for i := range items {
		r := &items[i]
		if r.Error != nil || !plain(r.Key) || !plain(r.ID) {
			return nil, false
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		start := len(b)
		b = appendText(b, `"key":"`, r.Key)
		b = appendText(b, `"id":"`, r.ID)
		if r.Version != 0 {
			b = append(strconv.AppendUint(append(b, `"version":`...), r.Version, 10), ',')
		}
		b = appendBytes(b, `"ciphertext":"`, r.Ciphertext)
		b = appendBytes(b, `"plaintext":"`, r.Plaintext)
		b = appendBytes(b, `"signature":"`, r.Signature)
		b = appendBytes(b, `"mac":"`, r.MAC)
		b = appendBytes(b, `"public_key":"`, r.PublicKey)
		if r.Verified != nil {
			b = append(strconv.AppendBool(append(b, `"verified":`...), *r.Verified), ',')
		}
		if len(b) > start {
			b = b[:len(b)-1] // the last comma
		}
		b = append(b, '}')
	}
	return append(b, "]}"...), true
}

// plain reports whether a text is written as it stands.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20, c > 0x7e, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// appendText writes a member, with a comma after it, unless it is empty.
func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(append(b, name...), value...), `",`...)
}

// appendBytes is appendText in base64.
func appendBytes(b []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return append(base64.StdEncoding.AppendEncode(append(b, name...), value), `",`...)
}

// plainReader takes one token after the other off what is left.
type plainReader struct{ rest []byte }

func (p *plainReader) space() {
	for len(p.rest) > 0 {
		switch p.rest[0] {
		case ' ', '\t', '\n', '\r':
			p.rest = p.rest[1:]
		default:
			return
		}
	}
}

func (p *plainReader) end() bool {
	p.space()
	return len(p.rest) == 0
}

// is takes one byte.
func (p *plainReader) is(c byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text takes a string.
func (p *plainReader) text() ([]byte, bool) {
	if !p.is('"') {
		return nil, false
	}
	for i, c := range p.rest {
		if c == '"' {
			s := p.rest[:i]
			p.rest = p.rest[i+1:]
			return s, true
		}
		if c < 0x20 || c > 0x7e || c == '\\' {
			break
		}
	}
	return nil, false
}

// name takes a member's name, which has to be this one, and the colon.
func (p *plainReader) name(want string) bool {
	s, ok := p.text()
	return ok && string(s) == want && p.is(':')
}

// member takes one member of an item.
func (p *plainReader) member(item *useItem) bool {
	name, ok := p.text()
	if !ok || !p.is(':') {
		return false
	}
	switch string(name) {
	case "op":
		return p.string(&item.Op)
	case "key":
		return p.string(&item.Key)
	case "scheme":
		return p.string(&item.Scheme)
	case "version":
		return p.number(&item.Version)
	case "partition":
		return p.bytes(&item.Partition)
	case "context":
		return p.bytes(&item.Context)
	case "plaintext":
		return p.bytes(&item.Plaintext)
	case "ciphertext":
		return p.bytes(&item.Ciphertext)
	case "message":
		return p.bytes(&item.Message)
	case "signature":
		return p.bytes(&item.Signature)
	case "mac":
		return p.bytes(&item.MAC)
	}
	return false
}

func (p *plainReader) string(to *string) bool {
	s, ok := p.text()
	*to = string(s)
	return ok
}

func (p *plainReader) bytes(to *[]byte) bool {
	s, ok := p.text()
	if !ok {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(out, s)
	*to = out[:n]
	return err == nil
}

func (p *plainReader) number(to *uint64) bool {
	p.space()
	digits := 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits > 1 && p.rest[0] == '0' {
		return false
	}
	n, err := strconv.ParseUint(string(p.rest[:digits]), 10, 64)
	*to, p.rest = n, p.rest[digits:]
	return err == nil
}
