// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// holder is how a secret usually travels: as a field of something printed.
type holder struct {
	Name   string
	Key    *Bytes
	hidden *Bytes
	aead   *AEAD
	mac    *HMAC
}

const canary = "canary-canary-canary-canary-0123"

func leaks(out string) bool {
	for _, form := range []string{
		canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
		base64.StdEncoding.EncodeToString([]byte(canary)), strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		canary[:8], fmt.Sprintf("%d %d %d", canary[0], canary[1], canary[2]), fmt.Sprintf("%#x", canary[:4])[2:],
	} {
		if strings.Contains(out, form) {
			return true
		}
	}
	return false
}

func newHolder(t *testing.T) holder {
	t.Helper()
	key := Take([]byte(canary))
	aead, err := NewAEAD(key)
	if err != nil {
		t.Fatal(err)
	}
	return holder{Name: "n", Key: key, hidden: key, aead: aead, mac: NewHMAC(key)}
}

func TestPrintingRedacts(t *testing.T) {
	if !leaks(fmt.Sprint([]byte(canary))) || !leaks(canary) {
		t.Fatal("leaks finds nothing")
	}
	h := newHolder(t)
	for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "#x", " x", "d", "o", "b", "c", "U", "t", "e", "20s", ".3s", "!", "T", "p"} {
		for _, v := range []any{h.Key, h.aead, h.mac} {
			out := fmt.Sprintf("%"+verb, v)
			if leaks(out) {
				t.Errorf("%%%s prints the secret: %s", verb, out)
			}
			if verb != "T" && verb != "p" && out != "[redacted]" {
				t.Errorf("%%%s prints %q", verb, out)
			}
		}
		for _, v := range []any{h, &h, []*Bytes{h.Key}, map[string]any{"k": h.Key}, struct{ e any }{h.hidden}} {
			if out := fmt.Sprintf("%"+verb, v); leaks(out) {
				t.Errorf("%%%s of %T prints the secret: %s", verb, v, out)
			}
		}
	}
	if h.Key.String() != redacted || h.Key.GoString() != redacted {
		t.Error("String or GoString prints something else")
	}
}

func TestEncodingRedactsOrRefuses(t *testing.T) {
	h := newHolder(t)
	data, err := json.Marshal(h)
	if err != nil || string(data) != `{"Name":"n","Key":"[redacted]"}` {
		t.Errorf("JSON: %s, %v", data, err)
	}
	data, err = xml.Marshal(h.Key)
	if err != nil || leaks(string(data)) {
		t.Errorf("XML: %s, %v", data, err)
	}
	for _, v := range []any{h.aead, h.mac} {
		if data, err = json.Marshal(v); err != nil || string(data) != `"[redacted]"` {
			t.Errorf("JSON of %T: %s, %v", v, data, err)
		}
	}
	var buf bytes.Buffer
	for _, v := range []any{h.Key, struct{ K *Bytes }{h.Key}} {
		if err := gob.NewEncoder(&buf).Encode(v); err == nil {
			t.Errorf("gob takes %T", v)
		}
		if _, err := cbor.Marshal(v); err == nil {
			t.Errorf("CBOR takes %T", v)
		}
	}
}

func TestDecodingRefuses(t *testing.T) {
	for _, doc := range []string{`"00"`, `{}`, `[1]`, `"[redacted]"`} {
		var v struct{ K *Bytes }
		if err := json.Unmarshal([]byte(`{"K":`+doc+`}`), &v); err == nil {
			t.Errorf("JSON %s was decoded into a secret", doc)
		}
	}
	var v struct{ K *Bytes }
	if err := cbor.Unmarshal([]byte{0xa1, 0x61, 'K', 0x41, 0}, &v); err == nil {
		t.Error("CBOR was decoded into a secret")
	}
	if err := new(Bytes).GobDecode([]byte{1}); err == nil {
		t.Error("gob was decoded into a secret")
	}
}

func TestLoggingRedacts(t *testing.T) {
	h := newHolder(t)
	var buf bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		log := slog.New(handler)
		log.Info("m", "key", h.Key, "aead", h.aead, "mac", h.mac, "holder", h, "pointer", &h, slog.Group("g", "k", h.Key))
		log.With("key", h.Key).Error("m")
	}
	if leaks(buf.String()) {
		t.Errorf("slog prints the secret: %s", buf.String())
	}
	if n := strings.Count(buf.String(), redacted); n < 10 {
		t.Errorf("%d redactions in the log: %s", n, buf.String())
	}
}

func TestPanicsDontPrint(t *testing.T) {
	h := newHolder(t)
	h.Key.Wipe()
	defer func() {
		if out := fmt.Sprint(recover()); leaks(out) || !strings.Contains(out, "Wipe") {
			t.Errorf("panic prints %q", out)
		}
	}()
	h.Key.Expose()
}
