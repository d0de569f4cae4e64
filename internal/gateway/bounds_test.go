// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
)

func TestBucket(t *testing.T) {
	clk := clock.NewManual(time.Unix(0, 0))
	b := newBucket(clk, 3, 100)
	for i := range 3 {
		if !b.take(1) {
			t.Errorf("request %d", i)
		}
	}
	if b.take(1) {
		t.Error("more than a second's at once")
	}
	clk.Advance(700 * time.Millisecond)
	if !b.take(2) || b.take(1) {
		t.Error("seven tenths of a second at three a second are not two")
	}
	clk.Advance(time.Hour)
	if !b.take(32) { // more than the bucket holds waits for a full one
		t.Error("many at once never pass")
	}
	clk.Advance(time.Second)
	if b.take(1) {
		t.Error("many at once cost nothing")
	}
	if newBucket(clk, 0, 7).rate != 7 || newBucket(clk, 0, 0).rate != DefaultRate {
		t.Error("rates of records that name none")
	}
}

func request(body io.Reader, length int64) *http.Request {
	return &http.Request{Body: io.NopCloser(body), ContentLength: length}
}

func TestRoom(t *testing.T) {
	const most = 10_000
	whole := bytes.Repeat([]byte("x"), most)
	for name, body := range map[string]io.Reader{
		"at once": bytes.NewReader(whole), "byte by byte": iotest.OneByteReader(bytes.NewReader(whole)), "with its end": iotest.DataErrReader(bytes.NewReader(whole)),
	} {
		m := &room{left: 2 * (most + 1)}
		got, free, err := m.read(request(body, -1), most)
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if m.left == 2*(most+1) {
			t.Errorf("%s: it takes no room", name)
		}
		if free(); m.left != 2*(most+1) {
			t.Errorf("%s: %d left", name, m.left)
		}
		if strings.Trim(string(got), "\x00") != "" {
			t.Errorf("%s: it isn't wiped", name)
		}
	}
	for name, c := range map[string]struct {
		room int64
		r    *http.Request
		want error
	}{
		"too long by its word":   {1 << 20, request(strings.NewReader(""), most+1), ErrTooLarge},
		"too long as it comes":   {1 << 20, request(io.MultiReader(bytes.NewReader(whole), strings.NewReader("y")), -1), ErrTooLarge},
		"a body where none goes": {1 << 20, request(bytes.NewReader(whole), most), nil},
		"no room":                {firstRead, request(bytes.NewReader(whole), most), keyserver.ErrBusy},
		"slow":                   {1 << 20, request(iotest.ErrReader(os.ErrDeadlineExceeded), 5), ErrTimeout},
		"cut":                    {1 << 20, request(iotest.ErrReader(io.ErrUnexpectedEOF), 5), ErrBody},
		"none":                   {0, request(strings.NewReader(""), 0), nil},
	} {
		m := &room{left: c.room}
		_, free, err := m.read(c.r, most)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if free(); m.left != c.room {
			t.Errorf("%s: %d left of %d", name, m.left, c.room)
		}
	}
	if _, _, err := (&room{left: 1 << 20}).read(request(strings.NewReader("x"), 1), 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a body on a route without one: %v", err)
	}
	// What is said of a length gets no memory: 4 KiB are, whatever it says.
	m := &room{left: firstRead}
	if _, _, err := m.read(request(strings.NewReader("x"), 1<<30), 1<<40); err != nil {
		t.Error(err)
	}
}
