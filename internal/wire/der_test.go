// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"testing"
)

// TestRawToASN1 sets it beside the general encoder, with numbers of every length and
// both first bits.
func TestRawToASN1(t *testing.T) {
	for zeros := range 33 {
		for _, first := range []byte{0x01, 0x7f, 0x80, 0xff} {
			raw := make([]byte, es256Bytes)
			rand.Read(raw[zeros:])
			if zeros < 32 {
				raw[zeros] = first
			}
			for _, raw := range [][]byte{raw, append(bytes.Clone(raw[32:]), raw[:32]...)} {
				want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
				if err != nil {
					t.Fatal(err)
				}
				if got := rawToASN1(raw); !bytes.Equal(got, want) {
					t.Errorf("%x: %x, want %x", raw, got, want)
				}
			}
		}
	}
}
