// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

const chunk = 16384

// sizes lie on both sides of every border: of a chunk, of a Writer's run, of a
// Reader's buffer, of a batch.
var sizes = []int{0, 1, 100, chunk - 1, chunk, chunk + 1, 4 * chunk, 16*chunk + 3, batchPlain - 1, batchPlain, batchPlain + 1, 3*batchPlain + 5}

// sealers are all ways to make an object.
var sealers = map[string]func(t *testing.T, w Wrapper, plain []byte, o Options) ([]byte, error){
	"Encrypt": func(t *testing.T, w Wrapper, plain []byte, o Options) ([]byte, error) {
		return Encrypt(t.Context(), w, plain, o)
	},
	"Writer": func(t *testing.T, w Wrapper, plain []byte, o Options) ([]byte, error) {
		var out bytes.Buffer
		wr, err := NewWriter(t.Context(), w, &out, o)
		if err != nil {
			return nil, err
		}
		for i := 1; len(plain) > 0; i = i*3 + 1 { // pieces of all sizes
			n := min(i, len(plain))
			if k, err := wr.Write(plain[:n]); err != nil || k != n {
				return nil, fmt.Errorf("wrote %d of %d: %w", k, n, err)
			}
			plain = plain[n:]
		}
		err = wr.Close()
		return out.Bytes(), err
	},
	"Stream": func(t *testing.T, w Wrapper, plain []byte, o Options) ([]byte, error) {
		var out bytes.Buffer
		n, err := EncryptStream(t.Context(), w, &out, bytes.NewReader(plain), o)
		if err == nil && n != int64(out.Len()) {
			err = fmt.Errorf("said %d bytes, wrote %d", n, out.Len())
		}
		return out.Bytes(), err
	},
	"File": func(t *testing.T, w Wrapper, plain []byte, o Options) ([]byte, error) {
		dst := newFile(t)
		n, err := EncryptFile(t.Context(), w, dst, bytes.NewReader(plain), int64(len(plain)), o)
		if err != nil {
			return nil, err
		}
		out, err := os.ReadFile(dst.Name())
		if err == nil && n != int64(len(out)) {
			err = fmt.Errorf("said %d bytes, wrote %d", n, len(out))
		}
		return out, err
	},
}

// openers are all ways to open an object. Each returns no plaintext with an
// error, except the streams, which return what came before it.
var openers = map[string]func(ctx context.Context, t testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error){
	"Decrypt": func(ctx context.Context, _ testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		return Decrypt(ctx, u, object, o)
	},
	"Reader": func(ctx context.Context, _ testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		r, err := NewReader(ctx, u, bytes.NewReader(object), o)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	},
	"Reader of halves": func(ctx context.Context, _ testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		r, err := NewReader(ctx, u, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(object))), o)
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		_, err = io.CopyBuffer(struct{ io.Writer }{&out}, r, make([]byte, 3*chunk))
		return out.Bytes(), err
	},
	"ReaderAt": func(ctx context.Context, _ testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		r, err := NewReaderAt(ctx, u, bytes.NewReader(object), int64(len(object)), o)
		if err != nil {
			return nil, err
		}
		out := make([]byte, r.Size())
		n, err := r.ReadAt(out, 0)
		return out[:n], err
	},
	"Stream": func(ctx context.Context, _ testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		var out bytes.Buffer
		n, err := DecryptStream(ctx, u, &out, bytes.NewReader(object), o)
		if n != int64(out.Len()) {
			return out.Bytes(), errors.Join(err, fmt.Errorf("said %d bytes, wrote %d", n, out.Len()))
		}
		return out.Bytes(), err
	},
	"File": func(ctx context.Context, t testing.TB, u Unwrapper, object []byte, o Options) ([]byte, error) {
		dst := newFile(t)
		n, err := DecryptFile(ctx, u, dst, bytes.NewReader(object), int64(len(object)), o)
		if err != nil {
			return nil, err
		}
		out, err := os.ReadFile(dst.Name())
		if err == nil && n != int64(len(out)) {
			err = fmt.Errorf("said %d bytes, wrote %d", n, len(out))
		}
		return out, err
	},
}

func newFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestEveryWay seals in every way and opens in every way: one format.
func TestEveryWay(t *testing.T) {
	k := leafKey(t, testRef("tenant"))
	o := Options{Context: []byte("bucket/object@7"), Workers: 3}
	for how, seal := range sealers {
		t.Run(how, func(t *testing.T) {
			for _, n := range sizes {
				plain := random(n)
				object, err := seal(t, k, plain, o)
				if err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				for name, open := range openers {
					got, err := open(t.Context(), t, k, object, o)
					if err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%d bytes by %s: %d bytes, %v", n, name, len(got), err)
					}
				}
			}
		})
	}
}
