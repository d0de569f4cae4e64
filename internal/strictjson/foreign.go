// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

var (
	errText   = errors.New("it is not UTF-8, or escapes half a character")
	errObject = errors.New("it is not an object")
	errForm   = errors.New("it is not JSON")
)

// DecodeForeign reads a message of a protocol that others made: one JSON object
// whose members may have any name. Two that differ in case alone are the same one
// given twice. Members that v has no field for are skipped where the protocol says
// that more may come, else refused.
func DecodeForeign(data []byte, v any, more bool) error {
	if err := CheckForeign(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if !more {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		if err == io.EOF {
			return errForm
		}
		return err
	}
	return nil
}

// CheckForeign reports whether data is one such object: UTF-8, no member twice in
// any case, not deeper than 16, nothing behind it. It takes no more memory than
// the members' names.
func CheckForeign(data []byte) error {
	switch {
	case !utf8.Valid(data):
		return errText
	case !shallow(data): // before anything that keeps a stack
		return errDeep
	case !json.Valid(data):
		return errForm
	case bytes.TrimLeft(data, " \t\r\n")[0] != '{':
		return errObject
	}
	s := scanner{data: data}
	return s.run()
}

// shallow reports whether brackets outside of strings nest at most maxDepth deep.
func shallow(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// scanner walks JSON that is known to be valid.
type scanner struct {
	data []byte
	open []map[string]bool // the members of each open object; nil for an array
	name bool              // the next string is a member's name
}

func (s *scanner) run() error {
	for i := 0; i < len(s.data); i++ {
		switch s.data[i] {
		case '{':
			s.open, s.name = append(s.open, map[string]bool{}), true
		case '[':
			s.open, s.name = append(s.open, nil), false
		case '}', ']':
			s.open, s.name = s.open[:len(s.open)-1], false
		case ',':
			s.name = s.open[len(s.open)-1] != nil
		case '"':
			end := i + 1
			for ; s.data[end] != '"'; end++ {
				if s.data[end] == '\\' {
					end++
				}
			}
			if err := s.text(s.data[i : end+1]); err != nil {
				return err
			}
			i = end
		}
	}
	return nil
}

// text looks at one string, quotes included.
func (s *scanner) text(quoted []byte) error {
	escaped := bytes.IndexByte(quoted, '\\') >= 0
	if escaped && halfCharacter(quoted) {
		return errText
	}
	if !s.name {
		return nil
	}
	s.name = false
	name := string(quoted[1 : len(quoted)-1])
	if escaped {
		if err := json.Unmarshal(quoted, &name); err != nil {
			return errForm
		}
	}
	// encoding/json takes a name for a field's when one folds to the other; upper
	// case first, for letters such as ſ that have no other way to s.
	name = strings.ToLower(strings.ToUpper(name))
	seen := s.open[len(s.open)-1]
	if seen[name] {
		return errTwice
	}
	seen[name] = true
	return nil
}

// halfCharacter finds an escaped surrogate without its other half: encoding/json
// makes the same character of all of them.
func halfCharacter(quoted []byte) bool {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		if i++; quoted[i] != 'u' {
			continue
		}
		first := quoted[i+1 : i+5]
		i += 4
		switch high, low := surrogate(first); {
		case low:
			return true
		case !high:
			continue
		}
		if i+6 >= len(quoted) || quoted[i+1] != '\\' || quoted[i+2] != 'u' {
			return true
		}
		if _, low := surrogate(quoted[i+3 : i+7]); !low {
			return true
		}
		i += 6
	}
	return false
}

// surrogate says which half of a character four hexadecimal digits are.
func surrogate(hex []byte) (high, low bool) {
	d := hex[0] | 0x20
	c := hex[1] | 0x20
	return d == 'd' && (c == '8' || c == '9' || c == 'a' || c == 'b'), d == 'd' && c >= 'c' && c <= 'f'
}
