// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"claviger/envelope/internal/cobblestone"
)

// Opener opens the body that belongs to a header: as a whole, as a stream, at
// any place. It is safe for concurrent use, except Close.
type Opener struct {
	key     *cobblestone.Key
	context [32]byte
	ref     Ref
	workers int
}

// NewOpener finds the data key of a detached header with u and verifies the
// header. Close the Opener to forget the key. Errors: ErrFormat, ErrNoKey,
// ErrIntegrity, those of u.
func NewOpener(ctx context.Context, u Unwrapper, header []byte, o Options) (*Opener, error) {
	h, err := openHeader(ctx, u, header)
	if err != nil {
		return nil, err
	}
	defer h.dek.Wipe()
	return &Opener{
		key:     mustKey(cobblestone.NewKey(h.dek)),
		context: o.bodyContext(),
		ref:     h.slots[h.chosen].Ref,
		workers: o.workers(),
	}, nil
}

// Ref says which key opened the header, with its Domain. A hidden partition is
// not in it.
func (o *Opener) Ref() Ref { return o.ref.clone() }

// Close forgets the data key. Readers that were made before stay usable.
func (o *Opener) Close() error {
	o.key.Wipe()
	return nil
}

// Open returns the plaintext of a body. Errors: ErrIntegrity.
func (o *Opener) Open(body []byte) ([]byte, error) { return o.Append(nil, body) }

// begin reads a body's first bytes and verifies their commitment.
func (o *Opener) begin(src io.Reader) (*cobblestone.Message, error) {
	var prefix [cobblestone.PrefixSize]byte
	n, err := readFull(src, prefix[:])
	if err != nil {
		return nil, fmt.Errorf("read ciphertext: %w", err)
	}
	body, err := o.key.Parse(prefix[:n], o.context[:])
	return body, opened(err)
}

// openHead reads the header off the front of src and opens it.
func openHead(ctx context.Context, u Unwrapper, src io.Reader, o Options) (opener *Opener, size int64, err error) {
	header, err := ReadHeader(src)
	if err != nil {
		return nil, 0, err
	}
	opener, err = NewOpener(ctx, u, header, o)
	return opener, int64(len(header)), err
}

// Decrypt returns the plaintext of an object. Errors: ErrFormat, ErrNoKey,
// ErrIntegrity, those of u.
func Decrypt(ctx context.Context, u Unwrapper, ciphertext []byte, o Options) ([]byte, error) {
	opener, size, err := openHead(ctx, u, bytes.NewReader(ciphertext), o)
	if err != nil {
		return nil, err
	}
	defer opener.key.Wipe()
	return opener.Open(ciphertext[size:])
}

// NewReader reads and verifies the header of the object in src and returns a
// Reader for its plaintext. Errors: ErrFormat, ErrNoKey, ErrIntegrity, those of u
// and src.
func NewReader(ctx context.Context, u Unwrapper, src io.Reader, o Options) (*Reader, error) {
	opener, _, err := openHead(ctx, u, src, o)
	if err != nil {
		return nil, err
	}
	defer opener.key.Wipe()
	return opener.Reader(src)
}

// NewReaderAt verifies the header of the object in the first size bytes of src,
// and that the object ends there, and returns a ReaderAt for its plaintext.
// Errors as NewReader.
func NewReaderAt(ctx context.Context, u Unwrapper, src io.ReaderAt, size int64, o Options) (*ReaderAt, error) {
	opener, header, err := openHead(ctx, u, io.NewSectionReader(src, 0, size), o)
	if err != nil {
		return nil, err
	}
	defer opener.key.Wipe()
	return opener.ReaderAt(io.NewSectionReader(src, header, size-header), size-header)
}

// readFull reads until p is full or src ends, and returns an error only for
// trouble: unlike io.ReadFull it tells a source's own io.ErrUnexpectedEOF, as of
// a broken connection, from a clean end.
func readFull(src io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p); {
		k, err := src.Read(p[n:])
		n += k
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if idle++; k > 0 {
			idle = 0
		}
		if idle > maxIdle {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// maxIdle is how many empty reads in a row a source may answer with.
const maxIdle = 100
