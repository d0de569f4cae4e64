// SPDX-License-Identifier: Apache-2.0

package ring

import (
	"github.com/fxamacker/cbor/v2"

	"claviger/internal/wire"
)

// MaxType bounds the outer type that is shown.
const MaxType = 64

// SealedType reads the outer type of a sealed message; false if it is none.
func SealedType(message []byte) (string, bool) {
	outer, err := wire.ParseSealed(message, wire.MaxSealedSize)
	if err != nil || !printable(outer.Type) {
		return "", false
	}
	return outer.Type, true
}

// OuterType reads what an answer shows of itself: a text, or the first element of
// an array, which is all that the relay can know of it. "" if it shows nothing.
func OuterType(message []byte) string {
	if len(message) > 0 && message[0]>>5 == 4 { // an array: its first element stands behind a head of 1 byte here
		message = message[1:]
	}
	var text string
	if len(message) == 0 || message[0]>>5 != 3 {
		return ""
	}
	if _, err := cbor.UnmarshalFirst(message, &text); err != nil || !printable(text) {
		return ""
	}
	return text
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= MaxType
}
