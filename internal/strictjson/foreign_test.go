// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type foreign struct {
	KeyID string `json:"keyId"`
	Inner struct {
		Some []string `json:"x5t#S256"`
	} `json:"inner"`
}

func TestDecodeForeign(t *testing.T) {
	cases := []struct {
		text string
		want error
	}{
		{`{}`, nil},
		{` {"keyId":"\ud83d\ude00","inner":{"x5t#S256":["a","{\"","a"]}} ` + "\n", nil},
		{`{"keyId":"a","keyId":"a"}`, errTwice},
		{`{"keyId":"a","\u006beyId":"a"}`, errTwice},
		{`{"keyId":"a","KEYID":"a"}`, errTwice},
		{`{"inner":{"x5t#S256":[]},"inner":{}}`, errTwice},
		{`{"inner":{"x5t#S256":[],"x5t#ſ256":[]}}`, errTwice},
		{"{\"keyId\":\"\xff\"}", errText},
		{`{"keyId":"\ud83d"}`, errText},
		{`{"keyId":"\ud83dx\ude00"}`, errText},
		{`{"keyId":"\ude00"}`, errText},
		{`{"keyId":"\ud83d\u0041"}`, errText},
		{`{"keyId":"a"} {}`, errForm},
		{`{"keyId":"a"}x`, errForm},
		{``, errForm},
		{`{`, errForm},
		{`[]`, errObject},
		{`"a"`, errObject},
		{`null`, errObject},
		{strings.Repeat(`{"a":`, 10_000), errDeep},
		{strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), errDeep},
	}
	for _, c := range cases {
		var v foreign
		if err := DecodeForeign([]byte(c.text), &v, false); !errors.Is(err, c.want) {
			t.Errorf("%.60s: %v, want %v", c.text, err, c.want)
		}
	}
	for text, more := range map[string]bool{`{"other":1}`: false, `{"keyId":1}`: true, `{"inner":[]}`: true} {
		var v foreign
		if DecodeForeign([]byte(text), &v, more) == nil {
			t.Errorf("%s was taken", text)
		}
	}
	var v foreign
	if err := DecodeForeign([]byte(`{"other":{"a":[{"a":1},{"a":2}]},"keyId":"k"}`), &v, true); err != nil || v.KeyID != "k" {
		t.Errorf("%+v, %v", v, err)
	}
}

// What is taken has one meaning, which doesn't change when it is written again.
func FuzzDecodeForeign(f *testing.F) {
	f.Add(`{"keyId":"\ud83d\ude00","inner":{"x5t#S256":["a\\","b"]},"n":-1.5e3}`)
	f.Add(`{"a":1,"A":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		if CheckForeign([]byte(text)) != nil {
			return
		}
		var v, w map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return // a number that no float64 holds
		}
		again, err := json.Marshal(v)
		if err != nil || CheckForeign(again) != nil {
			t.Fatalf("%q: %s %v", text, again, err)
		}
		if err := json.Unmarshal(again, &w); err != nil || !reflect.DeepEqual(v, w) {
			t.Fatalf("%q: %v, then %v", text, v, w)
		}
	})
}
