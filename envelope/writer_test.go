// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"
)

// limitedWriter takes n bytes and then fails.
type limitedWriter struct {
	n   int
	err error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		return w.n, w.err
	}
	w.n -= len(p)
	return len(p), nil
}

// WriteAt takes the first n bytes of the file and fails beyond.
func (w *limitedWriter) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(w.n) {
		return 0, w.err
	}
	return len(p), nil
}

func TestWriterWithoutClose(t *testing.T) {
	k := leafKey(t, testRef(""))
	var out bytes.Buffer
	w := must[*Writer](t)(NewWriter(t.Context(), k, &out, Options{}))
	for _, n := range []int{0, 10, 3 * chunk} {
		must[int](t)(w.Write(make([]byte, n)))
		_, err := Decrypt(t.Context(), k, out.Bytes(), Options{})
		wantErr(t, "not closed", err, ErrIntegrity)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	got, err := Decrypt(t.Context(), k, out.Bytes(), Options{})
	if err != nil || len(got) != 3*chunk+10 {
		t.Errorf("closed: %d bytes, %v", len(got), err)
	}
	size := out.Len()
	if n, err := w.Write([]byte("late")); n != 0 || err == nil {
		t.Errorf("written after Close: %d, %v", n, err)
	}
	if out.Len() != size {
		t.Error("something came after the end")
	}
}

// TestWriterFails lets the destination fail at every step.
func TestWriterFails(t *testing.T) {
	k := leafKey(t, testRef(""))
	full := errors.New("disk full")
	plain := random(2*chunk + 10)
	size := len(encrypt(t, k, plain, Options{}))
	for _, want := range []error{full, nil} { // nil: a Writer that breaks io.Writer's rule
		for _, room := range []int{0, 10, 180, 250, 17000, 33000, size - 1} {
			wanted := want
			if wanted == nil {
				wanted = io.ErrShortWrite
			}
			w, err := NewWriter(t.Context(), k, &limitedWriter{room, want}, Options{})
			if err == nil {
				_, err = w.Write(plain)
				cerr := w.Close()
				if err == nil {
					err = cerr
				}
				wantErr(t, "Close", cerr, wanted)
				_, again := w.Write(plain)
				wantErr(t, "Write after the error", again, wanted)
			}
			wantErr(t, "room for some", err, wanted)
			_, err = EncryptStream(t.Context(), k, &limitedWriter{room, want}, bytes.NewReader(plain), Options{Workers: 2})
			wantErr(t, "EncryptStream", err, wanted)
			if want != nil {
				_, err = EncryptFile(t.Context(), k, &limitedWriter{room, want}, bytes.NewReader(plain), int64(len(plain)), Options{Workers: 2})
				wantErr(t, "EncryptFile", err, wanted)
			}
		}
	}
}

func TestDecryptToFails(t *testing.T) {
	k := leafKey(t, testRef(""))
	full := errors.New("disk full")
	object := encrypt(t, k, random(5*batchPlain), Options{})
	for _, room := range []int{0, 100, 2*batchPlain + 7} {
		_, err := DecryptStream(t.Context(), k, &limitedWriter{room, full}, bytes.NewReader(object), Options{Workers: 3})
		wantErr(t, "DecryptStream", err, full)
		_, err = DecryptStream(t.Context(), k, &limitedWriter{room, nil}, bytes.NewReader(object), Options{Workers: 3})
		wantErr(t, "DecryptStream, short write", err, io.ErrShortWrite)
		_, err = DecryptFile(t.Context(), k, &limitedWriter{room, full}, bytes.NewReader(object), int64(len(object)), Options{Workers: 3})
		wantErr(t, "DecryptFile", err, full)
		_, err = DecryptFile(t.Context(), k, &limitedWriter{room, nil}, bytes.NewReader(object), int64(len(object)), Options{Workers: 3})
		wantErr(t, "DecryptFile, short write", err, io.ErrShortWrite)
	}
}

// reserver counts what it is told beforehand.
type reserver struct {
	*os.File
	size int64
	err  error
}

func (r *reserver) Reserve(size int64) error {
	r.size += size
	return r.err
}

// TestReserve: a destination is told how large it will be, once, and may refuse.
func TestReserve(t *testing.T) {
	k := leafKey(t, testRef(""))
	for _, n := range []int64{0, 1, 3*batchPlain + 5} {
		plain := random(int(n))
		object, back := &reserver{File: newFile(t)}, &reserver{File: newFile(t)}
		size := must[int64](t)(EncryptFile(t.Context(), k, object, bytes.NewReader(plain), n, Options{Workers: 2}))
		if info := must[os.FileInfo](t)(object.Stat()); object.size != size || info.Size() != size {
			t.Errorf("%d bytes: room for %d was reserved, %d came of it, %d said", n, object.size, info.Size(), size)
		}
		must[int64](t)(DecryptFile(t.Context(), k, back, object, size, Options{Workers: 2}))
		if back.size != n {
			t.Errorf("%d bytes: room for %d was reserved to decrypt", n, back.size)
		}
		full := errors.New("disk full")
		_, err := EncryptFile(t.Context(), k, &reserver{File: newFile(t), err: full}, bytes.NewReader(plain), n, Options{})
		wantErr(t, "EncryptFile", err, full)
		refused := &reserver{File: newFile(t), err: full}
		_, err = DecryptFile(t.Context(), k, refused, object, size, Options{})
		wantErr(t, "DecryptFile", err, full)
		if info := must[os.FileInfo](t)(refused.Stat()); info.Size() != 0 {
			t.Errorf("%d bytes were decrypted into a place that was refused", info.Size())
		}
	}
}

// TestDecryptFileChecksFirst: a cut file, or one that somebody made longer, is
// refused before a byte is written or room for it is taken.
func TestDecryptFileChecksFirst(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, random(3*batchPlain), Options{})
	dst := &reserver{File: newFile(t)}
	cut := int64(len(object)) - 5
	_, err := DecryptFile(t.Context(), k, dst, bytes.NewReader(object), cut, Options{})
	wantErr(t, "cut", err, ErrIntegrity)
	longer := slices.Concat(object, make([]byte, 5*batchSealed))
	_, err = DecryptFile(t.Context(), k, dst, bytes.NewReader(longer), int64(len(longer)), Options{})
	wantErr(t, "made longer", err, ErrIntegrity)
	if dst.size != 0 {
		t.Errorf("room for %d bytes was reserved", dst.size)
	}
	if info := must[os.FileInfo](t)(dst.Stat()); info.Size() != 0 {
		t.Errorf("%d bytes were written", info.Size())
	}
	bad := mutate(object, flip(len(object)/2))
	_, err = DecryptFile(t.Context(), k, dst, bytes.NewReader(bad), int64(len(bad)), Options{Workers: 2})
	wantErr(t, "damaged in the middle", err, ErrIntegrity)
}

func TestEncryptSourceFails(t *testing.T) {
	k := leafKey(t, testRef(""))
	lost := errors.New("connection lost")
	for _, n := range []int{0, 100, 2*batchPlain + 3} {
		for _, want := range []error{lost, io.ErrUnexpectedEOF} {
			src := io.MultiReader(bytes.NewReader(make([]byte, n)), iotest.ErrReader(want))
			_, err := EncryptStream(t.Context(), k, io.Discard, src, Options{})
			wantErr(t, "EncryptStream", err, want)
		}
		_, err := EncryptFile(t.Context(), k, newFile(t), bytes.NewReader(make([]byte, n)), int64(n)+1, Options{})
		wantErr(t, "EncryptFile, src too short", err, io.ErrUnexpectedEOF)
		_, err = EncryptFile(t.Context(), k, newFile(t), &changingReaderAt{err: lost}, int64(n)+1, Options{})
		wantErr(t, "EncryptFile, src fails", err, lost)
	}
	if _, err := EncryptFile(t.Context(), k, newFile(t), bytes.NewReader(nil), -1, Options{}); err == nil {
		t.Error("a file of -1 bytes was encrypted")
	}
}

func TestDecryptSourceFails(t *testing.T) {
	k := leafKey(t, testRef(""))
	lost := errors.New("connection lost")
	plain := random(2*batchPlain + 3)
	object := encrypt(t, k, plain, Options{})
	var out bytes.Buffer
	src := io.MultiReader(bytes.NewReader(object[:len(object)-1]), iotest.ErrReader(lost))
	n, err := DecryptStream(t.Context(), k, &out, src, Options{})
	wantErr(t, "DecryptStream", err, lost)
	if errors.Is(err, ErrIntegrity) || n != int64(out.Len()) || !bytes.Equal(out.Bytes(), plain[:2*batchPlain]) {
		t.Errorf("%d bytes came out, %v", out.Len(), err)
	}
	_, err = DecryptStream(t.Context(), k, &out, iotest.ErrReader(lost), Options{})
	wantErr(t, "no header", err, lost)
}

func TestCancel(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := make([]byte, 3*batchPlain)
	object := encrypt(t, k, plain, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	size := int64(len(object))
	_, err := EncryptStream(ctx, k, io.Discard, bytes.NewReader(plain), Options{})
	wantErr(t, "EncryptStream", err, context.Canceled)
	_, err = DecryptStream(ctx, k, io.Discard, bytes.NewReader(object), Options{})
	wantErr(t, "DecryptStream", err, context.Canceled)
	_, err = EncryptFile(ctx, k, newFile(t), bytes.NewReader(plain), int64(len(plain)), Options{})
	wantErr(t, "EncryptFile", err, context.Canceled)
	_, err = DecryptFile(ctx, k, newFile(t), bytes.NewReader(object), size, Options{})
	wantErr(t, "DecryptFile", err, context.Canceled)
}

// TestStreamKeepsOrder runs many small pipelines with more workers than batches
// and fewer.
func TestStreamKeepsOrder(t *testing.T) {
	k := leafKey(t, testRef(""))
	plain := random(5*batchPlain + 1)
	for _, workers := range slices.Repeat([]int{1, 2, 8}, 2) {
		var object, back bytes.Buffer
		o := Options{Workers: workers}
		must[int64](t)(EncryptStream(t.Context(), k, &object, bytes.NewReader(plain), o))
		must[int64](t)(DecryptStream(t.Context(), k, &back, &object, o))
		if !bytes.Equal(back.Bytes(), plain) {
			t.Fatalf("%d workers: another plaintext", workers)
		}
	}
}
