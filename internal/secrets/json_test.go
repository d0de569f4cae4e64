// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"claviger/internal/wire"
)

// TestMerge has the examples of RFC 7396, appendix A, whose patch and target are
// objects.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{"a":"foo"}`, `{"b":{"c":null,"d":1.50}}`, `{"a":"foo","b":{"d":1.50}}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890}`, `{}`, `{"n":12345678901234567890}`},
	} {
		if got, err := Merge([]byte(c[0]), []byte(c[1])); err != nil || string(got) != c[2] {
			t.Errorf("%s with %s: %s, %v", c[0], c[1], got, err)
		}
	}
	for _, bad := range []string{`[]`, `null`, ``, `{"a":1,"a":2}`} {
		if _, err := Merge([]byte(`{}`), []byte(bad)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestSubkeys(t *testing.T) {
	data := `{"foo":"v","bar":{"baz":[1,{"x":2}],"deep":{"er":true},"none":{}}}`
	for depth, want := range []string{
		`{"bar":{"baz":null,"deep":{"er":null},"none":null},"foo":null}`, `{"bar":null,"foo":null}`,
		`{"bar":{"baz":null,"deep":null,"none":null},"foo":null}`, `{"bar":{"baz":null,"deep":{"er":null},"none":null},"foo":null}`,
	} {
		if got, err := Subkeys([]byte(data), depth); err != nil || string(got) != want {
			t.Errorf("depth %d: %s, %v", depth, got, err)
		}
	}
}

// reference is merge patch as RFC 7396, section 2, says it, over decoded values.
func reference(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = reference(t[name], value)
		}
	}
	return t
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":"c"},"d":[1]}`), []byte(`{"a":{"b":null,"x":{}},"d":{"e":null}}`))
	f.Add([]byte(`{"\u00e9":1}`), []byte(`{"é":null}`))
	f.Fuzz(func(t *testing.T, target, patch []byte) {
		got, err := Merge(target, patch)
		if err != nil {
			return
		}
		if _, err := Object(got); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		var a, b, have any
		if json.Unmarshal(target, &a) != nil || json.Unmarshal(patch, &b) != nil || json.Unmarshal(got, &have) != nil {
			return // a number beyond float64
		}
		if want := reference(a, b); !reflect.DeepEqual(have, want) {
			t.Fatalf("%s with %s: %s", target, patch, got)
		}
		if _, err := Subkeys(got, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := New(start())
	for range 3 {
		if _, err := d.Put(start(), []byte(`{"a":"b"}`), nil, Settings{}); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(wire.Marshal(d))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Decode(data)
		if err != nil {
			return
		}
		if again, err := d.Encode(); err == nil && !bytes.Equal(again, data) {
			t.Fatal("two encodings of one document")
		}
		d.Find(0)
		d.Destroy([]uint64{0, 1, 2})
		d.Undelete(start(), nil, Settings{})
		if _, err := d.Put(start(), []byte(`{}`), nil, Settings{MaxVersions: 2}); err == nil && d.Current != 0 && len(d.Versions) > 2 {
			t.Fatalf("%d versions are kept", len(d.Versions))
		}
	})
}
