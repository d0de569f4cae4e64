// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"encoding/json"
	"fmt"
	"testing"

	"claviger/internal/secrets"
)

func TestNumbers(t *testing.T) {
	const none = ^uint64(0)
	for text, want := range map[string][]uint64{
		`[1,2]`: {1, 2}, `["3"," 4 "]`: {3, 4}, `"5,6, 7"`: {5, 6, 7}, `8`: {8}, `"9"`: {9}, `[0,-1,2]`: {2}, `[0]`: {none}, `-1`: {none},
		``: nil, `null`: nil, `[]`: nil, `""`: nil, `[1.5]`: nil, `["x"]`: nil, `{}`: nil, `true`: nil, `[[1]]`: nil, `"1,,2"`: nil, `[null]`: nil,
		`99999999999999999999`: nil,
	} {
		got, err := numbers(json.RawMessage(text))
		if (err != nil) != (want == nil) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	many := make([]int, secrets.MaxVersions+1)
	text, _ := json.Marshal(many)
	if _, err := numbers(text); err == nil {
		t.Error("more versions than there can be")
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]int64{
		`0`: 0, `60`: 60, `"60"`: 60, `"1h30m"`: 5400, `"-1s"`: -1, `"-1ms"`: -1, `-5`: -5, `""`: 0, `null`: 0,
	} {
		var s span
		if err := json.Unmarshal([]byte(text), &s); err != nil || s.Seconds != want {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
	for _, text := range []string{`"x"`, `1.5`, `true`, `[]`, `{}`, `99999999999`, `-99999999999`, `1e3`} {
		var s span
		if err := json.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

// FuzzMembers: whatever a member holds, reading it ends in a value within its bounds
// or an error.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`[1,"2"]`, `"1,2"`, `{"cas":3}`, `{"cas":"x"}`, `"1h"`, `-1`, `{"a":"b","n":7,"t":true,"z":null}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return // no decoder hands it on
		}
		var text json.RawMessage
		if json.Unmarshal(data, &text) != nil {
			return
		}
		if got, err := numbers(text); err == nil && (len(got) == 0 || len(got) > secrets.MaxVersions) {
			t.Errorf("%d versions", len(got))
		}
		if got, err := cas(text); err == nil && got != nil && *got > 1<<63 {
			t.Errorf("cas %d", *got)
		}
		all, err := words(text)
		if err == nil && all == nil {
			t.Error("no words and no error")
		}
		s := settings{Max: text, CAS: text, After: text}
		if change, err := s.change(); err == nil && (*change.MaxVersions > secrets.MaxVersions || *change.DeleteAfter > maxSpan) {
			t.Errorf("%+v", change)
		}
	})
}
