// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
)

// spyReaderAt notes which parts of an object are read.
type spyReaderAt struct {
	src io.ReaderAt
	mu  sync.Mutex
	got [][2]int64
}

func (s *spyReaderAt) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, [2]int64{off, off + int64(len(p))})
	return s.src.ReadAt(p, off)
}

// TestReadAtTouchesItsChunks reads at random and compares both what came and
// what it took.
func TestReadAtTouchesItsChunks(t *testing.T) {
	k := leafKey(t, testRef("p"))
	const size = 20*chunk + 99
	plain := random(size)
	object := encrypt(t, k, plain, Options{})
	header, body := split(t, object)
	spy := &spyReaderAt{src: bytes.NewReader(object)}
	r := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, spy, int64(len(object)), Options{}))
	if r.Size() != size {
		t.Fatalf("Size = %d", r.Size())
	}
	if last := spy.got[len(spy.got)-1]; last[0] != int64(len(header)+56+20*16400) || last[1] != int64(len(object)) {
		t.Errorf("opened without a look at the final chunk: %v", spy.got)
	}
	for range 300 {
		spy.got = nil
		off := rand.Int64N(size)
		p := make([]byte, rand.IntN(3*chunk))
		n, err := r.ReadAt(p, off)
		want := plain[off:min(off+int64(len(p)), size)]
		if n != len(want) || !bytes.Equal(p[:n], want) || (err == io.EOF) != (n < len(p)) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
		}
		first, last := off/chunk, max(off, off+int64(n)-1)/chunk
		low := int64(len(header)) + 56 + first*16400
		high := min(int64(len(header))+56+(last+1)*16400, int64(len(header)+len(body)))
		for _, g := range spy.got {
			if g[0] < low || g[1] > high {
				t.Fatalf("ReadAt(%d bytes, %d) read %v, outside %d–%d", len(p), off, g, low, high)
			}
		}
	}
}

func TestReadAtBorders(t *testing.T) {
	k := leafKey(t, testRef(""))
	for _, size := range []int{0, 1, chunk, chunk + 1} {
		plain := random(size)
		object := encrypt(t, k, plain, Options{})
		r := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, bytes.NewReader(object), int64(len(object)), Options{}))
		if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plain); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("read at -1")
		}
		for _, off := range []int64{int64(size), int64(size) + 1, 1 << 62} {
			if n, err := r.ReadAt(make([]byte, 1), off); n != 0 || err != io.EOF {
				t.Errorf("ReadAt(%d) of %d bytes = %d, %v", off, size, n, err)
			}
		}
		if n, err := r.ReadAt(nil, 0); n != 0 || err != nil {
			t.Errorf("empty read: %d, %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReaderAtLength: a wrong size, or an object cut where a chunk ends, is found
// before the first byte is read, though every chunk read would be authentic.
func TestReaderAtLength(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, random(3*chunk+9), Options{})
	header, _ := split(t, object)
	for _, size := range []int{0, len(header) - 1} {
		_, err := NewReaderAt(t.Context(), k, bytes.NewReader(object), int64(size), Options{})
		if !errors.Is(err, ErrIntegrity) && !errors.Is(err, ErrFormat) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	at := func(chunks int) int { return len(header) + 56 + chunks*16400 }
	for _, size := range []int{len(header), at(0), at(0) + 15, at(0) + 16, at(1), at(1) + 16, at(2) + 25, at(3), len(object) - 1, len(object) + 1} {
		_, err := NewReaderAt(t.Context(), k, bytes.NewReader(object), int64(size), Options{})
		wantErr(t, "size differs", err, ErrIntegrity)
	}
}

// TestReaderAtTrouble: a source that shrinks is an integrity failure, one that
// fails is its own.
func TestReaderAtTrouble(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, random(3*chunk), Options{})
	src := &changingReaderAt{data: object}
	r := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, src, int64(len(object)), Options{}))
	p := make([]byte, 2*chunk)
	src.data = object[:len(object)-40000]
	_, err := r.ReadAt(p, chunk)
	wantErr(t, "shrunk", err, ErrIntegrity)
	src.data, src.err = object, errors.New("disk fails")
	_, err = r.ReadAt(p, chunk)
	wantErr(t, "failing", err, src.err)
	src.err, src.idle = nil, true
	_, err = r.ReadAt(p, chunk)
	wantErr(t, "neither bytes nor an error", err, io.ErrNoProgress)
	src.idle = false
	if _, err := r.ReadAt(p, chunk); err != nil {
		t.Errorf("healed: %v", err)
	}
	src.err = errors.New("disk fails")
	_, err = NewReaderAt(t.Context(), k, src, int64(len(object)), Options{})
	wantErr(t, "failing at open", err, src.err)
}

type changingReaderAt struct {
	data []byte
	err  error
	idle bool
}

func (c *changingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case c.err != nil || c.idle:
		return 0, c.err
	default:
		return bytes.NewReader(c.data).ReadAt(p, off)
	}
}

// TestReadAtConcurrently is for the race detector.
func TestReadAtConcurrently(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(8 * chunk)
	object := encrypt(t, k, plain, Options{})
	r := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, bytes.NewReader(object), int64(len(object)), Options{}))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				off := rand.Int64N(7 * chunk)
				p := make([]byte, chunk)
				if _, err := r.ReadAt(p, off); err != nil || !bytes.Equal(p, plain[off:off+chunk]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	group.Wait()
}

// TestScratchIsWiped: what a read opened doesn't wait in the pool for the next.
func TestScratchIsWiped(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, random(10), Options{})
	r := must[*ReaderAt](t)(NewReaderAt(t.Context(), k, bytes.NewReader(object), int64(len(object)), Options{}))
	s := r.borrow()
	copy(s.plain[:], random(chunk))
	r.giveBack(s)
	if s.plain != [chunk]byte{} {
		t.Error("plaintext stays in the pool")
	}
}

func TestReaderConforms(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(2*chunk + 100)
	object := encrypt(t, k, plain, Options{})
	for name, src := range map[string]io.Reader{
		"at once":  bytes.NewReader(object),
		"by bytes": iotest.OneByteReader(bytes.NewReader(object)),
		"EOF late": iotest.DataErrReader(bytes.NewReader(object)),
	} {
		r := must[*Reader](t)(NewReader(t.Context(), k, src, Options{}))
		if err := iotest.TestReader(r, plain); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReaderSourceFails: trouble of the source is no integrity failure and no
// clean end, and whole chunks that came before it come out.
func TestReaderSourceFails(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(3 * chunk)
	object := encrypt(t, k, plain, Options{})
	header, _ := split(t, object)
	for _, want := range []error{errors.New("connection lost"), io.ErrUnexpectedEOF} {
		cut := len(header) + 56 + 2*16400 + 50
		src := io.MultiReader(bytes.NewReader(object[:cut]), iotest.ErrReader(want))
		r := must[*Reader](t)(NewReader(t.Context(), k, src, Options{}))
		got, err := io.ReadAll(r)
		if !errors.Is(err, want) || errors.Is(err, ErrIntegrity) || !bytes.Equal(got, plain[:2*chunk]) {
			t.Errorf("%d bytes, %v, want %d bytes and %v", len(got), err, 2*chunk, want)
		}
	}
	src := io.MultiReader(bytes.NewReader(object[:len(object)-1]), stuckReader{})
	r := must[*Reader](t)(NewReader(t.Context(), k, src, Options{}))
	_, err := io.ReadAll(r)
	wantErr(t, "stuck", err, io.ErrNoProgress)
}

// TestReaderIsPrompt: a chunk comes out as soon as it is there, without waiting
// for the next.
func TestReaderIsPrompt(t *testing.T) {
	k := leafKey(t, testRef(""))
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() {
		w, err := NewWriter(t.Context(), k, pw, Options{})
		if err == nil {
			_, err = w.Write(make([]byte, chunk))
		}
		if err != nil {
			pw.CloseWithError(err)
		} // and then: neither more data nor an end
	}()
	r := must[*Reader](t)(NewReader(t.Context(), k, pr, Options{}))
	if n, err := io.ReadFull(r, make([]byte, chunk)); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestReaderClose(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, random(2*chunk), Options{})
	r := must[*Reader](t)(NewReader(t.Context(), k, bytes.NewReader(object), Options{}))
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("read after Close: %d, %v", n, err)
	}
	r = must[*Reader](t)(NewReader(t.Context(), k, bytes.NewReader(object), Options{}))
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end and Close: %v", err)
	}
}
