// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"claviger/internal/secret"
)

func testShare() *shareText {
	return &shareText{
		value: secret.Take(bytes.Repeat([]byte{0xa1}, Size)),
		salt:  secret.Take(bytes.Repeat([]byte{0xb2}, saltSize)),
		place: sharePlace{
			sharing:     bytes.Repeat([]byte{0xc3}, sharingSize),
			set:         bytes.Repeat([]byte{0xd4}, Size),
			index:       2,
			threshold:   2,
			shares:      3,
			generation:  7,
			fingerprint: bytes.Repeat([]byte{0xe5}, Size),
		},
	}
}

// exposed copies a secret for comparison; tests only handle made-up ones.
func exposed(s *secret.Bytes) string { return string(s.Expose()) }

func take(text string) *secret.Bytes { return secret.Take([]byte(text)) }

// TestShareText pins the text: custodians keep it for years.
func TestShareText(t *testing.T) {
	want := "claviger root share 1\n" +
		"value: " + strings.Repeat("a1", 32) + "\n" +
		"salt: " + strings.Repeat("b2", 32) + "\n" +
		"sharing: " + strings.Repeat("c3", 16) + "\n" +
		"set: " + strings.Repeat("d4", 32) + "\n" +
		"index: 2\nthreshold: 2\nshares: 3\ngeneration: 7\n" +
		"fingerprint: " + strings.Repeat("e5", 32) + "\n" +
		"check: a7663947e11777fe\n"
	if got := exposed(testShare().encode()); got != want {
		t.Errorf("share is\n%swant\n%s", got, want)
	}
}

func TestParseShare(t *testing.T) {
	share := testShare()
	text := exposed(share.encode())
	for name, variant := range map[string]string{
		"as written":      text,
		"no last break":   strings.TrimRight(text, "\n"),
		"CRLF":            strings.ReplaceAll(text, "\n", "\r\n"),
		"more last lines": text + "\r\n\n",
	} {
		got, err := parseShare(take(variant))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.value.Equal(share.value) || !got.salt.Equal(share.salt) || !bytes.Equal(got.place.lines(), share.place.lines()) {
			t.Errorf("%s: parsed to another share", name)
		}
	}
}

func TestParseShareRefuses(t *testing.T) {
	text := exposed(testShare().encode())
	line := func(n int) string { return strings.SplitAfter(text, "\n")[n] }
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"empty":           {"", errNoShare},
		"only breaks":     {"\n\r\n", errNoShare},
		"other text":      {"hello\n", errNoShare},
		"too long":        {text + strings.Repeat("x", maxShareText), errNoShare},
		"age binary":      {"age-encryption.org/v1\n-> X25519 …", errSealedShare},
		"age armored":     {"-----BEGIN AGE ENCRYPTED FILE-----\n", errSealedShare},
		"newer":           {strings.Replace(text, "share 1", "share 2", 1), errShareNewer},
		"version 0":       {strings.Replace(text, "share 1", "share 0", 1), errNoShare},
		"version 01":      {strings.Replace(text, "share 1", "share 01", 1), errNoShare},
		"line missing":    {strings.Replace(text, line(3), "", 1), errShareForm},
		"line doubled":    {strings.Replace(text, line(3), line(3)+line(3), 1), errShareForm},
		"lines swapped":   {strings.Replace(text, line(1)+line(2), line(2)+line(1), 1), errShareForm},
		"line after":      {text + "more: 1\n", errShareForm},
		"upper case":      {strings.Replace(text, "a1a1", "A1a1", 1), errShareForm},
		"short value":     {strings.Replace(text, "a1a1", "a1", 1), errShareForm},
		"long value":      {strings.Replace(text, "a1a1", "a1a1a1", 1), errShareForm},
		"no label":        {strings.Replace(text, "index: 2", "2", 1), errShareForm},
		"index 0":         {strings.Replace(text, "index: 2", "index: 0", 1), errShareForm},
		"index 02":        {strings.Replace(text, "index: 2", "index: 02", 1), errShareForm},
		"index +2":        {strings.Replace(text, "index: 2", "index: +2", 1), errShareForm},
		"index too high":  {strings.Replace(text, "index: 2", "index: 33", 1), errShareForm},
		"index overflow":  {strings.Replace(text, "index: 2", "index: 18446744073709551618", 1), errShareForm},
		"other index":     {strings.Replace(text, "index: 2", "index: 1", 1), errShareTyped},
		"other value":     {strings.Replace(text, "a1a1", "a1a0", 1), errShareTyped},
		"other check":     {strings.Replace(text, "check: a7", "check: a8", 1), errShareTyped},
		"other threshold": {strings.Replace(text, "threshold: 2", "threshold: 1", 1), errShareTyped},
		"spaces at end":   {strings.Replace(text, "\n", " \n", 1), errNoShare},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseShare(take(test.text)); err != test.want {
				t.Errorf("error = %v, want %v", err, test.want)
			}
		})
	}
}

// TestShareEveryByte changes each byte of a share in turn: none of the changes
// goes through.
func TestShareEveryByte(t *testing.T) {
	text := exposed(testShare().encode())
	for i := range text {
		for _, c := range []byte{'0', '1', 'f', ' ', '\n', '\r', 0, 0xff} {
			changed := []byte(text)
			if changed[i] == c || i == len(text)-1 && (c == '\r' || c == '\n') {
				continue
			}
			changed[i] = c
			if i == len(text)-1 && c == '\n' {
				continue
			}
			if _, err := parseShare(secret.Take(changed)); err == nil {
				t.Errorf("byte %d changed to %q was accepted", i, c)
			}
		}
	}
}

func TestHex(t *testing.T) {
	for high := range 256 {
		out := appendHex(nil, []byte{byte(high)})
		if want := fmt.Sprintf("%02x", high); string(out) != want {
			t.Fatalf("hex of %d = %s, want %s", high, out, want)
		}
		for low := range 256 {
			digits := []byte{byte(high), byte(low)}
			want, err := hex.DecodeString(string(digits))
			valid := err == nil && string(bytes.ToLower(digits)) == string(digits)
			got := make([]byte, 1)
			if ok := decodeHex(got, digits); ok != valid || valid && got[0] != want[0] {
				t.Fatalf("decodeHex(%q) = %x, %t; want %x, %t", digits, got, ok, want, valid)
			}
		}
	}
}

func FuzzParseShare(f *testing.F) {
	text := testShare().encode()
	f.Add([]byte(exposed(text)))
	f.Add([]byte("claviger root share 1\n"))
	f.Add([]byte("claviger root share 1\nvalue: \r\n"))
	f.Add([]byte("-----BEGIN AGE"))
	f.Fuzz(func(t *testing.T, data []byte) {
		share, err := parseShare(secret.Take(bytes.Clone(data)))
		if err != nil {
			return
		}
		normal := strings.TrimRight(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r\n") + "\n"
		if again := exposed(share.encode()); again != normal {
			t.Errorf("accepted %q, which encodes to %q", data, again)
		}
	})
}
