// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	stream := AppendFrame(AppendFrame(AppendFrame(nil, []byte("one")), nil), []byte("two"))
	r := bytes.NewReader(stream)
	for _, want := range []string{"one", "", "two"} {
		if got, err := ReadFrame(r, 3); err != nil || string(got) != want {
			t.Fatalf("ReadFrame = %q, %v; want %q", got, err, want)
		}
	}
	if _, err := ReadFrame(r, 3); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for cut := 1; cut < 7; cut++ {
		if _, err := ReadFrame(bytes.NewReader(stream[:cut]), 3); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(stream), 2); !errors.Is(err, ErrFrame) {
		t.Errorf("over the limit: %v", err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = ReadFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), 100) }); n > 20 {
		t.Errorf("%v allocations for a frame that is refused", n)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, []byte("one")), nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		var out []byte
		for {
			message, err := ReadFrame(r, 1000)
			if err != nil {
				break
			}
			if len(message) > 1000 {
				t.Fatalf("%d bytes", len(message))
			}
			out = AppendFrame(out, message)
		}
		if !bytes.HasPrefix(stream, out) {
			t.Errorf("%x read as %x", stream, out)
		}
	})
}
