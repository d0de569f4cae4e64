// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"claviger/internal/secret"
	"claviger/internal/strictjson"
)

// Object checks that data is one JSON object that every reader takes alike, and
// returns a compact copy of it. Errors: ErrInvalid, ErrTooLarge.
func Object(data []byte) ([]byte, error) {
	if len(data) > MaxData {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxData)
	}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrInvalid)
	}
	if err := strictjson.CheckForeign(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	out := bytes.NewBuffer(make([]byte, 0, len(data)))
	if err := json.Compact(out, data); err != nil {
		return nil, fmt.Errorf("%w: it is no JSON", ErrInvalid)
	}
	return out.Bytes(), nil
}

// Merge applies a JSON merge patch (RFC 7396) whose top is an object to an object.
// Members come out in the order of their names. Errors: ErrInvalid, ErrTooLarge.
func Merge(target, patch []byte) ([]byte, error) {
	for _, data := range [][]byte{target, patch} {
		checked, err := Object(data)
		if err != nil {
			return nil, err
		}
		secret.Wipe(checked)
	}
	out := bytes.NewBuffer(make([]byte, 0, len(target)+len(patch)))
	if err := merge(out, target, patch); err != nil {
		return nil, err
	}
	if out.Len() > MaxData {
		secret.Wipe(out.Bytes())
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxData)
	}
	return out.Bytes(), nil
}

// merge writes target with patch applied. Both are checked JSON; target is nil
// where there is none.
func merge(out *bytes.Buffer, target, patch []byte) error {
	if !isObject(patch) {
		return json.Compact(out, patch)
	}
	changes, err := members(patch)
	if err != nil {
		return err
	}
	all := map[string]json.RawMessage{}
	if isObject(target) {
		if all, err = members(target); err != nil {
			return err
		}
	}
	for name, change := range changes {
		if isNull(change) {
			delete(all, name)
		} else if _, ok := all[name]; !ok {
			all[name] = nil
		}
	}
	return object(out, all, func(name string, value json.RawMessage) error {
		if change, ok := changes[name]; ok {
			return merge(out, value, change)
		}
		return json.Compact(out, value)
	})
}

// Subkeys is data with its values replaced by null: only the names of members are
// left, down to a depth (0: all).
func Subkeys(data []byte, depth int) ([]byte, error) {
	out := &bytes.Buffer{}
	if err := subkeys(out, data, 1, depth); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func subkeys(out *bytes.Buffer, data []byte, depth, most int) error {
	all, err := members(data)
	if err != nil {
		return err
	}
	return object(out, all, func(_ string, value json.RawMessage) error {
		if isObject(value) && (most == 0 || depth < most) {
			if inner, err := members(value); err == nil && len(inner) > 0 {
				return subkeys(out, value, depth+1, most)
			}
		}
		out.WriteString("null")
		return nil
	})
}

// object writes members in the order of their names.
func object(out *bytes.Buffer, all map[string]json.RawMessage, write func(string, json.RawMessage) error) error {
	out.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			out.WriteByte(',')
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return fmt.Errorf("%w: a member's name", ErrInvalid)
		}
		out.Write(quoted)
		out.WriteByte(':')
		if err := write(name, all[name]); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func members(data []byte) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil || all == nil {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrInvalid)
	}
	return all, nil
}

func isObject(v []byte) bool { v = bytes.TrimSpace(v); return len(v) > 0 && v[0] == '{' }
func isNull(v []byte) bool   { return bytes.Equal(bytes.TrimSpace(v), []byte("null")) }
