// SPDX-License-Identifier: Apache-2.0

package api

import (
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
