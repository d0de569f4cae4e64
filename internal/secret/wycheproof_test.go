// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

// hexBytes decodes a JSON string of hexadecimal digits.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(p []byte) (err error) {
	*h, err = hex.DecodeString(string(p))
	return err
}

type vector struct {
	ID     int      `json:"tcId"`
	Result string   `json:"result"`
	Key    hexBytes `json:"key"`
	IKM    hexBytes `json:"ikm"`
	Salt   hexBytes `json:"salt"`
	Info   hexBytes `json:"info"`
	Size   int      `json:"size"`
	OKM    hexBytes `json:"okm"`
	IV     hexBytes `json:"iv"`
	AAD    hexBytes `json:"aad"`
	Msg    hexBytes `json:"msg"`
	CT     hexBytes `json:"ct"`
	Tag    hexBytes `json:"tag"`
}

func (v vector) valid() bool { return v.Result != "invalid" }

func vectorsOf(t *testing.T, file string) []vector {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		NumberOfTests int
		TestGroups    []struct{ Tests []vector }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, g := range doc.TestGroups {
		all = append(all, g.Tests...)
	}
	if len(all) == 0 || len(all) != doc.NumberOfTests {
		t.Fatalf("%s: %d of %d vectors read", file, len(all), doc.NumberOfTests)
	}
	return all
}

func TestWycheproofHKDF(t *testing.T) {
	for _, v := range vectorsOf(t, "hkdf_sha512_test.json") {
		if v.Size > maxExpand {
			if v.valid() {
				t.Errorf("%d: %d bytes are called valid", v.ID, v.Size)
			}
			mustPanic(t, "Expand", "at most", func() { Expand(New(hashSize), v.Info, v.Size) })
			continue
		}
		prk := Extract(v.Salt, take(v.IKM))
		got := Expand(prk, v.Info, v.Size)
		kept := NewHMAC(prk).Expand(v.Info, v.Size)
		if !v.valid() || !bytes.Equal(got.Expose(), v.OKM) || !kept.Equal(got) {
			t.Errorf("%d: wrong output", v.ID)
		}
	}
}

func TestWycheproofHMAC(t *testing.T) {
	for _, v := range vectorsOf(t, "hmac_sha512_test.json") {
		got := NewHMAC(take(v.Key)).Sum(v.Msg)
		if hmac.Equal(got[:len(v.Tag)], v.Tag) != v.valid() {
			t.Errorf("%d (%s): wrong", v.ID, v.Result)
		}
	}
}

func TestWycheproofAESGCM(t *testing.T) {
	tried := 0
	for _, v := range vectorsOf(t, "aes_gcm_test.json") {
		if len(v.Key) != KeySize || len(v.IV) != NonceSize {
			continue // another algorithm than ours
		}
		tried++
		a, err := NewAEAD(take(v.Key))
		if err != nil {
			t.Fatal(err)
		}
		sealed := append(bytes.Clone(v.CT), v.Tag...)
		got, err := a.Open(nil, v.IV, sealed, v.AAD)
		if (err == nil) != v.valid() || v.valid() && !bytes.Equal(got, v.Msg) {
			t.Errorf("%d (%s): Open: %v", v.ID, v.Result, err)
		}
		if bytes.Equal(a.Seal(nil, v.IV, v.Msg, v.AAD), sealed) != v.valid() {
			t.Errorf("%d (%s): Seal differs", v.ID, v.Result)
		}
	}
	if tried < 50 {
		t.Errorf("only %d vectors for 256-bit keys", tried)
	}
}
