// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

// expectRefused opens object in every way. The streams may have given out an
// authentic beginning of plain, the others nothing; File is left to its own
// test because its output file is the caller's to drop.
func expectRefused(t *testing.T, what string, u Unwrapper, object, plain []byte, o Options, want ...error) {
	t.Helper()
	for name, open := range openers {
		got, err := open(t.Context(), t, u, object, o)
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
			t.Errorf("%s by %s: error %v, want %v", what, name, err, want)
		}
		if len(got) > 0 && (name == "Decrypt" || name == "File" || !bytes.HasPrefix(plain, got)) {
			t.Errorf("%s by %s: %d bytes came out", what, name, len(got))
		}
	}
}

// TestEveryBitFlipped flips each bit of a whole small object.
func TestEveryBitFlipped(t *testing.T) {
	k := leafKey(t, testRef("tenant"))
	plain := []byte("attack at dawn")
	object := encrypt(t, k, plain, Options{})
	header, _ := split(t, object)
	for bit := range len(object) * 8 {
		bad := bytes.Clone(object)
		bad[bit/8] ^= 1 << (bit % 8)
		got, err := Decrypt(t.Context(), k, bad, Options{})
		want := ErrIntegrity
		switch at := bit / 8; {
		case at < 11, at == 14 && bit%8 > 0:
			want = ErrFormat // magic, version, suite, rule; reserved flags
		case at > 14 && at < 14+25, at >= 14+27 && at < 14+27+len("tenant"):
			want = ErrNoKey // key id, version, partition
		}
		if !errors.Is(err, want) || got != nil {
			t.Errorf("bit %d of byte %d (header has %d): %v, want %v", bit%8, bit/8, len(header), err, want)
		}
	}
}

// TestEveryTruncation cuts a small object at every length, and adds to it.
func TestEveryTruncation(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(40)
	object := encrypt(t, k, plain, Options{})
	for n := range len(object) {
		want := ErrIntegrity
		if n < 11 {
			want = ErrFormat
		}
		expectRefused(t, fmt.Sprintf("%d of %d bytes", n, len(object)), k, object[:n], plain, Options{}, want)
	}
	for _, more := range [][]byte{{0}, object, make([]byte, 16400)} {
		expectRefused(t, "extended", k, append(bytes.Clone(object), more...), plain, Options{}, ErrIntegrity)
	}
}

// TestChunks moves whole chunks about, in one object and between two with the
// same key and context. (Scenarios 46 and 47.)
func TestChunks(t *testing.T) {
	k := leafKey(t, testRef("p"))
	const n = 3*chunk + 77
	plain, o := random(n), Options{Context: []byte("c"), Workers: 2}
	object := encrypt(t, k, plain, o)
	header, body := split(t, object)
	_, other := split(t, encrypt(t, k, random(n), o))
	part := func(of []byte, i int) []byte {
		at := 56 + i*16400
		return of[at:min(at+16400, len(of))]
	}
	join := func(parts ...[]byte) []byte {
		return slices.Concat(append([][]byte{header, body[:56]}, parts...)...)
	}
	a, b, c, end := part(body, 0), part(body, 1), part(body, 2), part(body, 3)
	if got := join(a, b, c, end); !bytes.Equal(got, object) {
		t.Fatal("the parts don't make the object")
	}
	cases := map[string][]byte{
		"header alone":         header,
		"header and prefix":    join(),
		"cut after 1 chunk":    join(a),
		"cut after 3 chunks":   join(a, b, c),
		"swapped":              join(b, a, c, end),
		"repeated":             join(a, a, c, end),
		"one more":             join(a, b, c, c, end),
		"dropped":              join(a, c, end),
		"end after the first":  join(a, end),
		"end alone":            join(end),
		"end twice":            join(a, b, c, end, end),
		"chunk of another":     join(a, part(other, 1), c, end),
		"end of another":       join(a, b, c, part(other, 3)),
		"chunks of another":    join(part(other, 0), part(other, 1), part(other, 2), part(other, 3)),
		"body of another":      slices.Concat(header, other),
		"prefix of another":    slices.Concat(header, other[:56], body[56:]),
		"header in the middle": slices.Concat(header, header, body),
		"end cut to its tag":   join(a, b, c, end[:16]),
		"end cut below a tag":  join(a, b, c, end[:15]),
		"end without its tag":  join(a, b, c, end[:len(end)-16]),
		"last chunk not short": join(a, b, append(bytes.Clone(end), make([]byte, 16400-len(end))...)),
		"bit in first chunk":   mutate(object, flip(len(header)+56)),
		"bit in a tag":         mutate(object, flip(len(header)+56+16400-1)),
		"bit in the end":       mutate(object, flip(len(object)-1)),
		"bit in the salt":      mutate(object, flip(len(header))),
		"bit in commitment":    mutate(object, flip(len(header)+30)),
	}
	for name, bad := range cases {
		expectRefused(t, name, k, bad, plain, o, ErrIntegrity)
	}
	expectRefused(t, "other context", k, object, nil, Options{Context: []byte("d")}, ErrIntegrity)
	expectRefused(t, "no context", k, object, nil, Options{}, ErrIntegrity)
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 0x10
		return b
	}
}

// TestReaderKeepsFailing: after an error no later read succeeds or ends cleanly.
func TestReaderKeepsFailing(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(2*chunk + 5)
	object := encrypt(t, k, plain, Options{})
	for _, bad := range [][]byte{object[:len(object)-1], object[:len(object)-16400], mutate(object, flip(len(object)-17000))} {
		r := must[*Reader](t)(NewReader(t.Context(), k, bytes.NewReader(bad), Options{}))
		got, err := io.ReadAll(r)
		wantErr(t, "first", err, ErrIntegrity)
		if len(got)%chunk != 0 || !bytes.HasPrefix(plain, got) {
			t.Errorf("%d bytes came out before the error", len(got))
		}
		for range 3 {
			n, err := r.Read(make([]byte, 100))
			if n != 0 {
				t.Errorf("%d bytes after the error", n)
			}
			wantErr(t, "later", err, ErrIntegrity)
		}
	}
}

// TestNoUnauthenticBytes looks at the caller's buffer, all of it: what a refused
// chunk decrypts to must not lie there. (Scenario 57 and the like.)
func TestNoUnauthenticBytes(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := bytes.Repeat([]byte("SECRET!!"), 3*chunk/8)
	object := encrypt(t, k, plain, Options{})
	header, _ := split(t, object)
	bad := mutate(object, flip(len(header)+56+100)) // in the first chunk

	buf := make([]byte, 2*chunk)
	r := must[*Reader](t)(NewReader(t.Context(), k, bytes.NewReader(bad), Options{}))
	n, err := r.Read(buf)
	wantErr(t, "Read", err, ErrIntegrity)
	if n != 0 || bytes.Contains(buf, []byte("SECRET!!")) {
		t.Errorf("Read gave %d bytes or left some in the buffer", n)
	}
	at := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, bytes.NewReader(bad), int64(len(bad)), Options{}))
	n, err = at.ReadAt(buf, 0)
	wantErr(t, "ReadAt", err, ErrIntegrity)
	if n != 0 || bytes.Contains(buf, []byte("SECRET!!")) {
		t.Errorf("ReadAt gave %d bytes or left some in the buffer", n)
	}
	if n, err := at.ReadAt(buf[:chunk], chunk); n != chunk || err != nil || !bytes.Equal(buf[:chunk], plain[chunk:2*chunk]) {
		t.Errorf("an undamaged chunk: %d, %v", n, err)
	}
}

// TestTwoDEKs is the salamander of the header: a writer who may write for two
// readers gives each another DEK. At most one of them may open. (Scenario 52.)
func TestTwoDEKs(t *testing.T) {
	a := testRef("a")
	b := testRef("b")
	b.Domain = a.Domain
	ka, kb := leafKey(t, a), leafKey(t, b)
	d1, d2 := newDEK(t), newDEK(t)
	s1 := must[Slot](t)(ka.Wrap(t.Context(), d1.Expose()))
	s2 := must[Slot](t)(kb.Wrap(t.Context(), d2.Expose()))
	header := must[[]byte](t)(encodeHeader([]Slot{s1, s2}, d1))
	if _, err := NewOpener(t.Context(), ka, header, Options{}); err != nil {
		t.Errorf("the reader whose DEK made the MAC: %v", err)
	}
	_, err := NewOpener(t.Context(), kb, header, Options{})
	wantErr(t, "the reader with another DEK", err, ErrIntegrity)
}
