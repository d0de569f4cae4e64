// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

var errReaderClosed = errors.New("read from a closed reader")

// ReaderAt gives out any part of a body's plaintext. Each read opens the chunks
// that it covers and no others, and keeps none: put a buffer before it if reads
// are small and close together. It is safe for concurrent use, except Close.
//
// io.NewSectionReader(r, 0, r.Size()) makes it a stream that can seek.
type ReaderAt struct {
	src     io.ReaderAt
	body    *cobblestone.Message
	plain   int64 // size of the plaintext, authenticated
	sealed  int64 // size of the body
	scratch sync.Pool
}

// scratch is the room that opening one chunk takes.
type scratch struct {
	sealed [cobblestone.SealedChunkSize]byte
	plain  [cobblestone.ChunkSize]byte
}

// ReaderAt verifies that src holds a body of exactly size bytes, by its first
// bytes and its final chunk, and returns a ReaderAt for the plaintext. Errors:
// ErrIntegrity, those of src.
func (o *Opener) ReaderAt(src io.ReaderAt, size int64) (*ReaderAt, error) {
	plain, err := cobblestone.PlainSize(size)
	if err != nil {
		return nil, opened(err)
	}
	body, err := o.begin(io.NewSectionReader(src, 0, cobblestone.PrefixSize))
	if err != nil {
		return nil, err
	}
	r := &ReaderAt{src: src, body: body, plain: plain, sealed: size}
	r.scratch.New = func() any { return new(scratch) }
	// The final chunk authenticates its own number and size, and so the length.
	s := r.borrow()
	defer r.giveBack(s)
	if _, err := r.open(s.plain[:0], plain/cobblestone.ChunkSize, s); err != nil {
		body.Wipe()
		return nil, err
	}
	return r, nil
}

// Size returns the size of the plaintext in bytes.
func (r *ReaderAt) Size() int64 { return r.plain }

// ReadAt implements io.ReaderAt. The bytes it returns are authentic, also with
// an error; ErrIntegrity says that the next one isn't.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read at a negative offset")
	}
	s := r.borrow()
	defer r.giveBack(s)
	done := 0
	for done < len(p) && off < r.plain {
		n, err := r.readChunk(p[done:], off, s)
		done += n
		off += int64(n)
		if err != nil {
			return done, err
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readChunk reads from the one chunk that off lies in. If p takes all of it,
// it is opened in place.
func (r *ReaderAt) readChunk(p []byte, off int64, s *scratch) (int, error) {
	chunk, skip := off/cobblestone.ChunkSize, off%cobblestone.ChunkSize
	if skip == 0 && len(p) >= cobblestone.ChunkSize {
		out, err := r.open(p[:0:cobblestone.ChunkSize], chunk, s)
		return len(out), err
	}
	out, err := r.open(s.plain[:0], chunk, s)
	if err != nil {
		return 0, err
	}
	return copy(p, out[skip:]), nil
}

// open reads and opens one chunk into dst.
func (r *ReaderAt) open(dst []byte, chunk int64, s *scratch) ([]byte, error) {
	at := cobblestone.Offset(chunk)
	sealed := s.sealed[:min(cobblestone.SealedChunkSize, r.sealed-at)]
	if err := readAt(r.src, sealed, at); err != nil {
		return nil, err
	}
	out, err := r.body.OpenRun(dst, chunk, sealed, chunk == r.plain/cobblestone.ChunkSize)
	return out, opened(err)
}

// readAt fills p. A source that ends before it has lost a part: ErrIntegrity.
func readAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return ErrIntegrity
	case err == nil:
		err = io.ErrNoProgress
	}
	return fmt.Errorf("read ciphertext: %w", err)
}

func (r *ReaderAt) borrow() *scratch { return r.scratch.Get().(*scratch) }

func (r *ReaderAt) giveBack(s *scratch) {
	secret.Wipe(s.plain[:])
	r.scratch.Put(s)
}

// Close forgets the key. It must not run at the same time as a read, after it a
// read panics. It doesn't close the source.
func (r *ReaderAt) Close() error {
	r.body.Wipe()
	return nil
}
