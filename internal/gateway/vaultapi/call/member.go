// SPDX-License-Identifier: Apache-2.0

package call

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"claviger/internal/secret"
)

var errType = errors.New("a member has another type")

// Bytes is a member in standard Base64. What isn't Base64 is an error of its item, not
// of the whole body: Fault says it.
type Bytes struct {
	Set   bool
	Value []byte
	Fault error // nil, or *Error in Vault's words
}

// UnmarshalJSON takes a string, or null as if nothing were there. The bytes go
// straight from the body into Value, so that Wipe leaves no copy.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != '"' {
		return errType
	}
	b.Set = true
	quoted := text
	text = text[1 : len(text)-1]
	if bytes.IndexByte(text, '\\') >= 0 { // some escape the slash
		var plain string
		if err := json.Unmarshal(quoted, &plain); err != nil {
			return errType
		}
		text = []byte(plain)
		defer secret.Wipe(text)
	}
	b.Value = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b.Value, text)
	b.Value = b.Value[:n]
	if corrupt := base64.CorruptInputError(0); errors.As(err, &corrupt) {
		b.Wipe()
		b.Fault = Bad("illegal base64 data at input byte " + strconv.FormatInt(int64(corrupt), 10))
	}
	return nil
}

// Wipe wipes the value.
func (b *Bytes) Wipe() {
	secret.Wipe(b.Value[:cap(b.Value)])
	b.Value = nil
}

// Int is a whole number, also as a string: the command line of Vault sends all values
// as strings.
type Int struct {
	Set   bool
	Value int64
}

// UnmarshalJSON takes 7, "7" and null.
func (i *Int) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		return nil
	}
	i.Set = true
	if i.Value, err = strconv.ParseInt(string(unquoted(text)), 10, 64); err != nil {
		return errType
	}
	return nil
}

// Bool is true or false, also as a string.
type Bool struct{ Set, Value bool }

// UnmarshalJSON takes true, "true" and null.
func (b *Bool) UnmarshalJSON(text []byte) error {
	switch string(unquoted(text)) {
	case "true":
		b.Set, b.Value = true, true
	case "false":
		b.Set, b.Value = true, false
	default:
		if string(text) != "null" {
			return errType
		}
	}
	return nil
}

// Seconds is a span of time: whole seconds, or a string such as "90", "1h30m".
type Seconds struct {
	Set   bool
	Value time.Duration
}

// maxSeconds is far above what anything here takes.
const maxSeconds = 100 * 366 * 24 * 3600

// UnmarshalJSON takes 60, "60", "1m", "" (nothing) and null.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" || string(text) == `""` {
		return nil
	}
	plain := string(unquoted(text))
	n, err := strconv.ParseInt(plain, 10, 64)
	if err != nil && text[0] == '"' {
		var d time.Duration
		d, err = time.ParseDuration(plain)
		n = int64(d / time.Second)
	}
	if err != nil || n < 0 || n > maxSeconds {
		return errType
	}
	s.Set, s.Value = true, time.Duration(n)*time.Second
	return nil
}

// unquoted is a plain string without its quotes; anything else stays as it is.
func unquoted(text []byte) []byte {
	if len(text) >= 2 && text[0] == '"' && bytes.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	return text
}
