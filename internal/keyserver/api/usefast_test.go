// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzPlainItems: what the short way reads, encoding/json reads alike.
func FuzzPlainItems(f *testing.F) {
	for _, body := range plainBodies() {
		f.Add([]byte(body))
	}
	for _, body := range otherBodies() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, ok := plainItems(data)
		if !ok {
			return
		}
		var want struct {
			Items []useItem `json:"items"`
		}
		if err := decodeJSON(data, &want); err != nil || !reflect.DeepEqual(items, want.Items) {
			t.Errorf("%q\nread as %+v\nis      %+v, %v", data, items, want.Items, err)
		}
	})
}

func plainBodies() []string {
	return []string{
		`{"items":[{"op":"encrypt","key":"payments/cards","plaintext":"aGVsbG8=","context":""}]}`,
		" { \"items\" : [\n{ \"op\" : \"decrypt\" ,\t\"ciphertext\":\"AAAA\", \"version\" : 18446744073709551615 } , {\"op\":\"mac\",\"message\":\"AA==\"}\r] } ",
		`{"items":[{"op":"verify","key":"a","key":"b","version":0,"partition":"cA==","message":"","signature":"AA==","scheme":"ed25519","mac":""}]}`,
	}
}

func otherBodies() []string {
	return []string{
		``, `{}`, `null`, `{"items":null}`, `{"items":[]}`, `{"items":[{}]}`, `{"items":[{"op":"a"},]}`, `{"items":[{"op":"a",}]}`,
		`{"items":[{"Op":"a"}]}`, `{"items":[{"op":null}]}`, `{"items":[{"op":"\u0061"}]}`, `{"items":[{"op":"é"}]}`, "{\"items\":[{\"op\":\"\x7f\"}]}",
		`{"items":[{"version":01}]}`, `{"items":[{"version":-1}]}`, `{"items":[{"version":1.0}]}`, `{"items":[{"version":18446744073709551616}]}`,
		`{"items":[{"plaintext":"aGVsbG8"}]}`, `{"items":[{"plaintext":"a b"}]}`, `{"items":[{"plaintext":[1]}]}`,
		`{"items":[{"op":"a"}],"more":1}`, `{"items":[{"op":"a"}]} x`, `{"items":[{"op":"a"}]}{}`, `{"items":[{"op":"a"}`, `{"items":[{"op":"a"`, `{"Items":[{"op":"a"}]}`,
		`{"items":[` + strings.Repeat(`{"op":"a"},`, 300) + `{"op":"a"}]}`,
	}
}

// TestPlainItems: the usual forms go the short way, and nothing that is odd.
func TestPlainItems(t *testing.T) {
	for _, body := range plainBodies() {
		if _, ok := plainItems([]byte(body)); !ok {
			t.Errorf("the long way: %s", body)
		}
	}
	for _, body := range otherBodies() {
		if _, ok := plainItems([]byte(body)); ok {
			t.Errorf("the short way: %s", body)
		}
	}
}

// FuzzAppendAnswer: what the short way writes, encoding/json writes alike; it
// leaves errors and escapes to it, and nothing else.
func FuzzAppendAnswer(f *testing.F) {
	f.Add("payments/cards", "00ff", uint64(3), []byte("text"), []byte{}, byte(0))
	f.Add("", "", uint64(0), []byte{}, []byte{}, byte(0))
	f.Add("a\"b", "", uint64(1<<63), []byte{0}, []byte{0xff, 0xfe}, byte(1))
	f.Add("<&>", "\u2028", uint64(1), []byte{}, []byte{}, byte(2))
	f.Add("é\x00\x7f\\", "x", uint64(1), []byte{}, []byte{}, byte(4))
	f.Fuzz(func(t *testing.T, key, id string, version uint64, one, two []byte, more byte) {
		yes := more&1 == 0
		items := []useResult{
			{Key: key, ID: id, Version: version, Ciphertext: one, Plaintext: two},
			{Version: version, Signature: two, MAC: one, PublicKey: two, Verified: &yes},
			{}, {Verified: &yes},
		}[:1+more%4]
		if more&4 != 0 {
			items[0].Error = &apiError{Code: "denied"}
		}
		want, err := json.Marshal(useAnswer{1, items})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := appendAnswer(nil, items)
		if ok && !bytes.Equal(got, want) {
			t.Errorf("written as %s\nis         %s", got, want)
		}
		quoted, _ := json.Marshal(key + id) // strings always encode
		if odd := more&4 != 0 || len(quoted) != len(key)+len(id)+2 || !plain(key+id); ok == odd {
			t.Errorf("the short way: %v, for %q %q", ok, key, id)
		}
	})
}
