// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"io"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

// runChunks is how many chunks a Writer seals at a time when it is given many.
const runChunks = 16

var errClosed = errors.New("write to a closed Writer")

// Writer seals what is written to it. It isn't complete, and doesn't open, before
// Close. It isn't safe for concurrent use.
type Writer struct {
	dst   io.Writer
	body  *cobblestone.Message
	plain []byte // less than a chunk, waiting for more
	out   []byte
	next  int64 // number of the next chunk
	done  bool
	err   error // of the first failure; stays
}

// Writer writes the body to dst: its first bytes at once, the rest as it comes.
// The caller closes the Writer, and then whatever dst is.
func (s *Sealer) Writer(dst io.Writer) (*Writer, error) {
	body, err := s.take()
	if err != nil {
		return nil, err
	}
	if err := write(dst, body.Prefix()); err != nil {
		body.Wipe()
		return nil, err
	}
	return &Writer{dst: dst, body: body, plain: make([]byte, 0, cobblestone.ChunkSize)}, nil
}

func (s *Sealer) writeHeader(dst io.Writer) error { return write(dst, s.header) }

// write writes all of p or says why not.
func write(dst io.Writer, p []byte) error {
	n, err := dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write ciphertext: %w", err)
	}
	return nil
}

// Write implements io.Writer. Plaintext is copied or sealed before it returns.
// After an error every further Write and Close returns that error.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for w.err == nil && len(p) > 0 {
		if w.done {
			return 0, errClosed
		}
		p = p[w.accept(p):]
	}
	if w.err != nil {
		return total - len(p), w.err
	}
	return total, nil
}

// accept takes some of p: whole chunks are sealed where they lie, a part of one
// is kept until it is whole.
func (w *Writer) accept(p []byte) int {
	if len(w.plain) > 0 || len(p) < cobblestone.ChunkSize {
		n := min(len(p), cobblestone.ChunkSize-len(w.plain))
		w.plain = append(w.plain, p[:n]...)
		if len(w.plain) == cobblestone.ChunkSize {
			w.seal(w.plain, false)
			w.plain = w.plain[:0]
		}
		return n
	}
	n := min(len(p)/cobblestone.ChunkSize, runChunks) * cobblestone.ChunkSize
	w.seal(p[:n], false)
	return n
}

func (w *Writer) seal(plain []byte, last bool) {
	var err error
	w.out, err = w.body.SealRun(w.out[:0], w.next, plain, last)
	if err != nil {
		w.fail(sealed(err))
		return
	}
	if err := write(w.dst, w.out); err != nil {
		w.fail(err)
		return
	}
	w.next += int64(len(plain) / cobblestone.ChunkSize)
}

func (w *Writer) fail(err error) {
	w.err = err
	w.finish()
}

// finish forgets key and plaintext.
func (w *Writer) finish() {
	w.done = true
	w.body.Wipe()
	secret.Wipe(w.plain[:cap(w.plain)])
}

// Close writes the final chunk. Without it the object is truncated, and readers
// say so. It doesn't close the destination. A second Close does nothing.
func (w *Writer) Close() error {
	if w.done {
		return w.err
	}
	w.seal(w.plain, true)
	if w.err == nil {
		w.finish()
	}
	return w.err
}
