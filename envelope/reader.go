// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"fmt"
	"io"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

// readChunks is how many sealed chunks a Reader asks its source for at a time.
const readChunks = 4

// Reader gives out the plaintext of a body, chunk by authentic chunk. It isn't
// safe for concurrent use.
type Reader struct {
	src    io.Reader
	body   *cobblestone.Message
	sealed []byte // read, not yet opened
	buf    []byte // what sealed lies in
	plain  []byte // opened, not yet given out
	chunk  []byte // what plain lies in
	next   int64  // number of the next chunk
	end    bool   // the source has ended
	broken error  // the source's own trouble, said when its last whole chunk is out
	err    error  // what to say once plain is empty; stays
}

// Reader verifies the first bytes of the body in src, which ends with the body, and
// returns a Reader for the plaintext. Errors: ErrIntegrity, those of src.
func (o *Opener) Reader(src io.Reader) (*Reader, error) {
	body, err := o.begin(src)
	if err != nil {
		return nil, err
	}
	return &Reader{
		src:   src,
		body:  body,
		buf:   make([]byte, readChunks*cobblestone.SealedChunkSize),
		chunk: make([]byte, 0, cobblestone.ChunkSize),
	}, nil
}

// Read implements io.Reader. io.EOF means that the plaintext was whole. It
// returns ErrIntegrity, now and at every later call, as soon as a chunk isn't
// authentic or the source ends early; what was read before is authentic, but
// only a part.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.plain) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
		if n := r.open(p); n > 0 {
			return n, nil
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// fill reads until a whole sealed chunk is there or the source ends.
func (r *Reader) fill() {
	if len(r.sealed) >= cobblestone.SealedChunkSize || r.end || r.broken != nil {
		return
	}
	have := copy(r.buf, r.sealed)
	for idle := 0; have < cobblestone.SealedChunkSize && !r.end && r.broken == nil; {
		n, err := r.src.Read(r.buf[have:])
		have += n
		if idle++; n > 0 {
			idle = 0
		}
		switch {
		case err == io.EOF:
			r.end = true
		case err != nil:
			r.broken = fmt.Errorf("read ciphertext: %w", err)
		case idle > maxIdle:
			r.broken = fmt.Errorf("read ciphertext: %w", io.ErrNoProgress)
		}
	}
	r.sealed = r.buf[:have]
}

// open opens what is there: whole chunks straight into p if it has room, else
// one into the buffer. At the end of the source it opens the final chunk.
func (r *Reader) open(p []byte) int {
	whole := len(r.sealed) / cobblestone.SealedChunkSize
	if whole == 0 && r.broken != nil {
		r.fail(r.broken)
		return 0
	}
	if room := len(p) / cobblestone.ChunkSize; whole > 0 && room > 0 {
		out := r.run(p[:0:len(p)], min(whole, room))
		return len(out)
	}
	r.plain = r.run(r.chunk, min(whole, 1))
	return 0
}

// run opens so many whole chunks, or with none the final one.
func (r *Reader) run(dst []byte, chunks int) []byte {
	n := chunks * cobblestone.SealedChunkSize
	if chunks == 0 {
		n = len(r.sealed)
	}
	out, err := r.body.OpenRun(dst, r.next, r.sealed[:n], chunks == 0)
	if err != nil {
		r.fail(opened(err))
		return nil
	}
	r.sealed = r.sealed[n:]
	r.next += int64(chunks)
	if chunks == 0 {
		r.fail(io.EOF)
	}
	return out
}

// fail ends the reading: nothing but plain is given out any more.
func (r *Reader) fail(err error) {
	r.err = err
	r.body.Wipe()
}

// Close forgets the key and the plaintext that wasn't read. It doesn't close
// the source. Reading to the end or to an error forgets the key by itself.
func (r *Reader) Close() error {
	if r.err == nil {
		r.fail(errReaderClosed)
	}
	secret.Wipe(r.chunk[:cap(r.chunk)])
	r.plain = nil
	return nil
}
