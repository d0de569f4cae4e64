// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/keyserver/keywork"
)

func TestText(t *testing.T) {
	data := bytes.Repeat([]byte{7}, keywork.RawOverhead)
	text := format(12, data)
	version, got, err := ciphertext(text)
	if err != nil || version != 12 || !bytes.Equal(got, data) || !strings.HasPrefix(text, "vault:v12:") {
		t.Fatalf("%s: %d, %v", text, version, err)
	}
	rest := strings.TrimPrefix(text, "vault:v12:")
	for bad, want := range map[string]string{
		"": "no prefix", "vault:12:" + rest: "no prefix", "vault:v12": "wrong number of fields", "vault:v1:a:b": "wrong number of fields",
		"vault:v:" + rest: "version number could not be decoded", "vault:v0:" + rest: "version number could not be decoded",
		"vault:v01:" + rest: "version number could not be decoded", "vault:v+1:" + rest: "version number could not be decoded",
		"vault:v-1:" + rest: "version number could not be decoded", "vault:v99999999999999999999:" + rest: "version number could not be decoded",
		"vault:v1:": "invalid ciphertext length", "vault:v1:AAAA": "invalid ciphertext length", "vault:v1:" + rest + "!": "could not decode base64",
	} {
		if _, _, err := ciphertext(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzCiphertext: what is taken apart has one spelling.
func FuzzCiphertext(f *testing.F) {
	f.Add(format(1, make([]byte, keywork.RawOverhead)))
	f.Add("vault:v1:")
	f.Fuzz(func(t *testing.T, text string) {
		version, data, err := ciphertext(text)
		if err == nil && format(version, data) != strings.NewReplacer("\n", "", "\r", "").Replace(text) {
			t.Fatalf("%q is read in two ways", text)
		}
	})
}

// FuzzProof: any text of a signature is decoded or refused.
func FuzzProof(f *testing.F) {
	f.Add("AAAA", true)
	f.Add(strings.Repeat("A", 86), true)
	f.Fuzz(func(t *testing.T, text string, jws bool) {
		der, err := proof(text, jws)
		if err == nil && jws {
			if again := formatJWS(1, der); again != "vault:v1:"+strings.NewReplacer("\n", "", "\r", "").Replace(text) && len(text) == 86 && !strings.ContainsAny(text, "\r\n") && lastBitsZero(text) {
				t.Fatalf("%q: %s", text, again)
			}
		}
	})
}

// lastBitsZero says that a text of 86 characters for 64 bytes has no stray bits.
func lastBitsZero(text string) bool { return strings.ContainsAny(text[85:], "AQgw") }

// TestItemsBounded: a batch of more items than one has is refused before they take
// memory.
func TestItemsBounded(t *testing.T) {
	many := `{"batch_input":[` + strings.Repeat("{},", 4_000_000) + `{}]}`
	took := testing.AllocsPerRun(1, func() {
		var r request
		if err := json.Unmarshal([]byte(many), &r); err == nil {
			t.Error("taken")
		}
	})
	if took > 100 {
		t.Errorf("%f allocations", took)
	}
	for text, want := range map[string]int{`[{}]`: 1, `[{},{}]`: 2, `[{"a":"x,y","b":[1,2]},{"c":{"d":1,"e":2}},{"f":"\",["}]`: 3} {
		if n := count([]byte(text)); n != want {
			t.Errorf("%s: %d", text, n)
		}
	}
	for _, bad := range []string{`[null]`, `{}`, `"x"`, `[1]`, `7`} {
		var b items
		if json.Unmarshal([]byte(bad), &b) == nil {
			t.Errorf("%s: taken", bad)
		}
	}
}

// FuzzRequest: whatever JSON a body is, it makes a bounded request or none.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"plaintext":"aGk=","batch_input":[{"ciphertext":"vault:v1:AAAA","key_version":"2"}],"salt_length":32}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r request
		if json.Unmarshal(data, &r) != nil {
			return
		}
		for i, item := range r.Batch {
			if item == nil || i >= maxBatch {
				t.Fatalf("%s", data)
			}
		}
		wipeAll(r.Batch)
	})
}

func TestOptions(t *testing.T) {
	for value, ok := range map[string]bool{"transit": true, "team/transit": true, "": false, "/a": false, "A": false, "a/": false} {
		if _, err := New([]authority.Tag{{Name: OptionMount, Value: value}}); (err == nil) != ok {
			t.Errorf("mount %q: %v", value, err)
		}
	}
	for value, ok := range map[string]bool{"apps/": true, "a/b/": true, "app-": true, "/": false, "a//": false, "A/": false} {
		if _, err := New([]authority.Tag{{Name: OptionPrefix, Value: value}}); (err == nil) != ok {
			t.Errorf("prefix %q: %v", value, err)
		}
	}
	m, err := New([]authority.Tag{{Name: OptionDerived, Value: "pii,tenant-*"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"pii": true, "pii2": false, "tenant-": true, "tenant-a": true, "tenant": false} {
		if m.isDerived(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	if _, err := New([]authority.Tag{{Name: OptionDerived, Value: "a,B"}}); err == nil {
		t.Error("a name that no key has")
	}
}

func TestShort(t *testing.T) {
	if got := short(strings.Repeat("x", 100)); len(got) != 32 {
		t.Error(got)
	}
	if got := short("a\"b\\c\n\x00"); got != "a?b?c??" {
		t.Error(got)
	}
}
