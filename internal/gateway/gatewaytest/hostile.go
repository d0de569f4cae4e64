// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Bad is a body that no door may take.
type Bad struct {
	Name string
	Body []byte
}

// deep is deeper than any protocol nests.
const deep = 10_000

// BadJSON derives from a valid JSON object what is malformed: free are members that
// may have any type.
func BadJSON(valid []byte, free ...string) []Bad {
	out := []Bad{
		{"nothing", nil}, {"null", []byte("null")}, {"an array", []byte("[]")}, {"a text", []byte(`"a"`)}, {"a number", []byte("1")},
		{"an array around it", slices.Concat([]byte("["), valid, []byte("]"))},
		{"two of it", slices.Concat(valid, valid)}, {"something behind it", slices.Concat(valid, []byte("x"))},
		{"deep arrays", []byte(strings.Repeat("[", deep) + strings.Repeat("]", deep))},
		{"deep objects", []byte(strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep))},
		{"another charset", slices.Concat([]byte{0xff, 0xfe}, utf16(valid))},
		{"bytes", bytes.Repeat([]byte{0}, 64)},
	}
	for _, at := range []int{1, len(valid) / 3, len(valid) / 2, len(valid) - 1} {
		out = append(out, Bad{fmt.Sprintf("cut at %d", at), valid[:at]})
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(valid, &members) != nil {
		return out
	}
	inner := bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimSpace(valid), []byte("{")), []byte("}"))
	add := func(name, member string) {
		more := slices.Concat([]byte("{"), inner, []byte(","+member+"}"))
		if len(members) == 0 {
			more = []byte("{" + member + "," + member + "}")
		}
		out = append(out, Bad{name, more})
	}
	add("deep inside", `"zz":`+strings.Repeat("[", deep)+strings.Repeat("]", deep))
	add("a broken character", "\"zz\":\"\xff\"")
	add("half a character", `"zz":"\ud800"`)
	for _, name := range sorted(members) {
		value := string(members[name])
		add(name+" twice", quote(name)+":"+value)
		add(name+" twice in capitals", quote(strings.ToUpper(name))+":"+value)
		add(name+" twice in escapes", `"\u00`+fmt.Sprintf("%02x", name[0])+quote(name)[2:]+":"+value)
		if slices.Contains(free, name) {
			continue
		}
		for _, other := range otherTypes(members[name]) {
			out = append(out, Bad{name + " as " + other, replaced(members, name, other)})
		}
		out = append(out, inside(members, name, free)...)
	}
	return out
}

// inside derives the same of an object that is a member.
func inside(members map[string]json.RawMessage, name string, free []string) []Bad {
	var nested map[string]json.RawMessage
	if json.Unmarshal(members[name], &nested) != nil || nested == nil {
		return nil
	}
	var out []Bad
	for _, part := range sorted(nested) {
		whole := bytes.TrimSuffix(bytes.TrimSpace(members[name]), []byte("}"))
		twice := string(whole) + "," + quote(part) + ":" + string(nested[part]) + "}"
		out = append(out, Bad{name + "." + part + " twice", replaced(members, name, twice)})
		if slices.Contains(free, part) || slices.Contains(free, name+"."+part) {
			continue
		}
		for _, other := range otherTypes(nested[part]) {
			out = append(out, Bad{name + "." + part + " as " + other, replaced(members, name, string(replaced(nested, part, other)))})
		}
	}
	return out
}

// otherTypes are values of types that a value doesn't have. Not null: to many it
// is the same as nothing.
func otherTypes(value json.RawMessage) []string {
	var out []string
	for _, other := range []string{`"!"`, `17`, `true`, `["!"]`, `{"!":1}`} {
		if kind(other[0]) != kind(bytes.TrimSpace(value)[0]) {
			out = append(out, other)
		}
	}
	return out
}

func kind(first byte) byte {
	switch first {
	case '"', '[', '{':
		return first
	case 't', 'f':
		return 't'
	}
	return '0'
}

func replaced(members map[string]json.RawMessage, name, value string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, n := range sorted(members) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quote(n) + ":")
		if n == name {
			b.WriteString(value)
		} else {
			b.Write(members[n])
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

func sorted(members map[string]json.RawMessage) []string {
	var out []string
	for name := range members {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func quote(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

func utf16(s []byte) []byte {
	out := make([]byte, 0, 2*len(s))
	for _, b := range s {
		out = append(out, b, 0)
	}
	return out
}
