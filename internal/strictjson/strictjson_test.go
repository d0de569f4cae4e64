// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type sample struct {
	A int               `json:"a"`
	B []sample          `json:"b"`
	C map[string]string `json:"c"`
}

func TestDecode(t *testing.T) {
	cases := []struct {
		text string
		want error // nil: it is taken
	}{
		{`{}`, nil},
		{` {"a": 1, "b": [{"a": 2}, {"a": 3}], "c": {"x": "y"}} ` + "\n", nil},
		{`{"a":1,"a":1}`, errTwice},
		{`{"a":1,"\u0061":2}`, errTwice},
		{`{"b":[{"a":1},{"a":1,"a":2}]}`, errTwice},
		{`{"c":{"x":"","x":""}}`, errTwice},
		{`{"a":1,"A":2}`, errName},
		{`{"A":2}`, errName},
		{`{"ſ":2}`, errName},
		{`{} {}`, errMore},
		{`{},`, errMore},
		{`{}x`, errMore},
		{`{}]`, errMore},
		{strings.Repeat("[", 20_000), errDeep},
	}
	for _, c := range cases {
		var v sample
		if err := Decode([]byte(c.text), &v); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.text, err, c.want)
		}
	}
	for _, text := range []string{``, `{`, `{"a"`, `{"a":}`, `{"a":1,}`, `[1`, `{"d":1}`, `{"a":"x"}`, `{1:2}`} {
		var v sample
		if Decode([]byte(text), &v) == nil {
			t.Errorf("%.20q was taken", text)
		}
	}
	var v sample
	if err := Decode([]byte(`{"a":1,"b":[{"a":2}]}`), &v); err != nil || !reflect.DeepEqual(v, sample{A: 1, B: []sample{{A: 2}}}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// What is taken says one thing: decoded and encoded it is the same again.
func FuzzCheck(f *testing.F) {
	f.Add(`{"a":[1,{"b":null}],"c":"d"}`)
	f.Add(`{"a":1,"a":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		if Check([]byte(text)) != nil {
			return
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.Count(text, ":") < members(v) {
			t.Fatalf("%q has more members than it can", text)
		}
		again, err := json.Marshal(v)
		if err != nil || Check(again) != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func members(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, m := range v {
			n += 1 + members(m)
		}
	case []any:
		for _, m := range v {
			n += members(m)
		}
	}
	return n
}
