// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/secrets"
)

// numbers reads versions as clients of Vault write them: a list of numbers or texts,
// one of either, or a text with commas.
func numbers(text json.RawMessage) ([]uint64, error) {
	bad := call.Bad("Field validation failed: error converting input for field \"versions\"")
	var words []string
	switch {
	case len(text) == 0 || string(text) == "null":
	case text[0] == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, bad
		}
		for _, item := range list {
			words = append(words, plain(item))
		}
	case plain(text) != "":
		words = strings.Split(plain(text), ",")
	}
	if len(words) == 0 {
		return nil, call.Bad("No version number provided")
	}
	if len(words) > secrets.MaxVersions {
		return nil, call.Badf("more than %d versions", secrets.MaxVersions)
	}
	out := make([]uint64, 0, len(words))
	for _, w := range words {
		n, err := strconv.ParseInt(strings.TrimSpace(w), 10, 64)
		if err != nil {
			return nil, bad
		}
		if n > 0 { // no version has any other number
			out = append(out, uint64(n))
		}
	}
	if len(out) == 0 {
		out = append(out, ^uint64(0)) // nothing named is not the newest
	}
	return out, nil
}

// plain is a text without its quotes; anything else stays as it is.
func plain(text json.RawMessage) string {
	var s string
	if json.Unmarshal(text, &s) == nil {
		return s
	}
	return string(text)
}

// span is a time in seconds that may be negative: a number, or a text such as "90",
// "1h30m", "-1s".
type span struct {
	Set     bool
	Seconds int64
}

// maxSpan is a hundred years.
const maxSpan = 100 * 365 * 24 * 3600

// UnmarshalJSON takes null and "" as 0.
func (s *span) UnmarshalJSON(text []byte) error {
	s.Set = true
	word := plain(text)
	if string(text) == "null" || word == "" {
		return nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil && text[0] == '"' {
		var d time.Duration
		d, err = time.ParseDuration(word)
		n = int64(d / time.Second)
		if n == 0 && d < 0 {
			n = -1
		}
	}
	if err != nil || n > maxSpan || n < -maxSpan {
		return call.Bad("a span of time")
	}
	s.Seconds = n
	return nil
}

// String is the span as Go writes durations.
func (s span) String() string { return (time.Duration(s.Seconds) * time.Second).String() }
