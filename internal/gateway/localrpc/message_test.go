// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"bytes"
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	var a, b []byte
	var s string
	fields := func() map[int]Field {
		a, b, s = nil, nil, ""
		return map[int]Field{1: Bytes(&a), 2: String(&s), 3: {Many: true, Take: func(v []byte) error {
			b = append(b, v...)
			return nil
		}}}
	}
	good := AppendBytes(AppendBytes(AppendBytes(AppendBytes(nil, 1, []byte("one")), 2, "zwö"), 3, "x"), 3, "y")
	good = append(good, 0x38, 0x05) // a number, field 7, of a later version
	if err := Decode(good, fields()); err != nil || string(a) != "one" || s != "zwö" || string(b) != "xy" {
		t.Errorf("Decode = %q %q %q, %v", a, s, b, err)
	}
	for name, bad := range map[string][]byte{
		"twice":           AppendBytes(AppendBytes(nil, 1, "a"), 1, "b"),
		"another type":    {0x08, 0x01},
		"fixed":           {0x0d, 1, 2, 3, 4},
		"not UTF-8":       AppendBytes(nil, 2, "\xff"),
		"cut":             good[:3],
		"length":          {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"group":           {0x3b, 0x3c},
		"end of no group": {0x3c},
		"field zero":      {0x02, 0x00},
		"unknown, cut":    {0x38},
	} {
		if err := Decode(bad, fields()); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out := AppendBytes(nil, 1, ""); len(out) != 0 {
		t.Errorf("an empty field is written: %x", out)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendBytes(AppendBytes(nil, 1, "a"), 2, "b"))
	f.Add([]byte{0x0a, 0xff, 0x01})
	f.Add([]byte{0x38, 0x05, 0x3b})
	f.Fuzz(func(t *testing.T, message []byte) {
		var a []byte
		var s string
		if Decode(message, map[int]Field{1: Bytes(&a), 2: String(&s)}) != nil {
			return
		}
		var again []byte
		if err := Decode(AppendBytes(AppendBytes(nil, 1, a), 2, s), map[int]Field{1: Bytes(&again), 2: String(&s)}); err != nil || !bytes.Equal(a, again) {
			t.Errorf("%x comes back as %x, %v", a, again, err)
		}
	})
}
