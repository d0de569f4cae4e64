// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestText(t *testing.T) {
	data := []byte{0xff, 0xfe, 1}
	text := FormatText("x1_", data)
	if got, err := ParseText("x1_", " "+text+"\r\n", 8); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%x, %v", got, err)
	}
	for _, bad := range []string{"", "x1", "y1_" + text[3:], text + "=", text[:4] + "\n" + text[4:], text[:4] + "\r" + text[4:], "x1_/v4B", "x1_//4B", "x1_AB", text + "AAAAAA"} {
		if got, err := ParseText("x1_", bad, 8); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %x, %v", bad, got, err)
		}
	}
}
