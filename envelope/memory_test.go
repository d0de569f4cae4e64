// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"errors"
	"testing"
)

// TestAppend goes through memory that is there and memory that isn't, with one
// goroutine and with several.
func TestAppend(t *testing.T) {
	k := leafKey(t, testRef(""))
	for _, workers := range []int{1, 3} {
		for _, n := range sizes {
			for _, room := range []int{0, n + n/100 + 100} {
				o := Options{Workers: workers}
				plain := random(n)
				s := must[*Sealer](t)(NewSealer(t.Context(), k, o))
				before := append(make([]byte, 0, 4+room), "head"...)
				got := must[[]byte](t)(s.Append(before, plain))
				if !bytes.HasPrefix(got, []byte("head")) || room > 0 && &got[0] != &before[0] {
					t.Errorf("%d bytes: not appended in place", n)
				}
				body := got[4:]
				opener := must[*Opener](t)(NewOpener(t.Context(), k, s.Header(), o))
				back := must[[]byte](t)(opener.Append(append(make([]byte, 0, 4+room), "head"...), body))
				if !bytes.Equal(back, append([]byte("head"), plain...)) {
					t.Errorf("%d bytes, %d workers: opened to something else", n, workers)
				}
				if _, err := s.Append(nil, plain); !errors.Is(err, ErrUsed) {
					t.Errorf("sealed twice: %v", err)
				}
			}
		}
	}
}

// TestAppendLeavesNothing changes a byte of the last batch, when others may have
// been opened.
func TestAppendLeavesNothing(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := bytes.Repeat([]byte{0x5a}, 3*batchPlain+5)
	o := Options{Workers: 1}
	s := must[*Sealer](t)(NewSealer(t.Context(), k, o))
	body := must[[]byte](t)(s.Seal(plain))
	body[len(body)-1] ^= 1
	opener := must[*Opener](t)(NewOpener(t.Context(), k, s.Header(), o))
	room := make([]byte, 0, len(body))
	if got, err := opener.Append(room, body); !errors.Is(err, ErrIntegrity) || got != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if bytes.IndexByte(room[:cap(room)], 0x5a) >= 0 {
		t.Error("plaintext of a refused body is in the caller's memory")
	}
	for _, n := range []int{0, 1, len(body) - 2*batchSealed, len(body) - 1} {
		if _, err := opener.Append(nil, body[:n]); !errors.Is(err, ErrIntegrity) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}
