// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"fmt"
	"io"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

// A Reserver is a destination of EncryptFile or DecryptFile that is told how many
// bytes it will hold, before most of them are written: a file system can give them
// their place at once, for less, and a disk that is too small fails in time. An
// error ends the work and is returned.
type Reserver interface {
	Reserve(size int64) error
}

// EncryptFile seals the first size bytes of src into an object at the start of
// dst, which may be a [Reserver], and returns the object's size. Workers read,
// seal and write batches of 1 MiB, each at its own place, so src and dst must not
// be the same file. After an error dst holds nothing of use. dst isn't cut to the
// object's size, so it had better be a new file. A src that is shorter is
// io.ErrUnexpectedEOF.
func EncryptFile(ctx context.Context, w Wrapper, dst io.WriterAt, src io.ReaderAt, size int64, o Options) (int64, error) {
	s, err := NewSealer(ctx, w, o)
	if err != nil {
		return 0, err
	}
	if err := writeAt(dst, s.header, 0); err != nil {
		return 0, err
	}
	begin := int64(len(s.header))
	n, err := s.file(ctx, dst, begin, src, size)
	return begin + n, err
}

// DecryptFile opens the object in the first size bytes of src into the start of
// dst, which may be a [Reserver], and returns the plaintext's size. What it writes
// is authentic batch by batch, but after an error dst may hold a part: write to a
// new file and rename it. Errors: ErrFormat, ErrNoKey, ErrIntegrity, those of u,
// src and dst.
func DecryptFile(ctx context.Context, u Unwrapper, dst io.WriterAt, src io.ReaderAt, size int64, o Options) (int64, error) {
	opener, header, err := openHead(ctx, u, io.NewSectionReader(src, 0, size), o)
	if err != nil {
		return 0, err
	}
	defer opener.key.Wipe()
	return opener.file(ctx, dst, io.NewSectionReader(src, header, size-header), header, size-header)
}

// File is EncryptFile for the body alone.
func (s *Sealer) File(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64) (int64, error) {
	return s.file(ctx, dst, 0, src, size)
}

// file is File for a body that begins at the given place of dst.
func (s *Sealer) file(ctx context.Context, dst io.WriterAt, begin int64, src io.ReaderAt, size int64) (int64, error) {
	total, err := cobblestone.SealedSize(size)
	if err != nil {
		return 0, sealed(err)
	}
	if err := reserve(dst, begin+total); err != nil {
		return 0, err
	}
	body, err := s.take()
	if err != nil {
		return 0, err
	}
	defer body.Wipe()
	if err := writeAt(dst, body.Prefix(), begin); err != nil {
		return 0, err
	}
	count := batches(size)
	err = inParallel(ctx, s.workers, count, func(b *buffers, batch int64) error {
		from, to := span(batch, plainOffset, size)
		plain := b.input(to-from, from)
		if err := readPlainAt(src, plain, from); err != nil {
			return err
		}
		at, end := span(batch, cobblestone.Offset, total)
		out, err := body.SealRun(b.output(end-at, begin+at), batch*batchChunks, plain, batch == count-1)
		if err != nil {
			return sealed(err)
		}
		return writeAt(dst, out, begin+at)
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}

// File is DecryptFile for a body of exactly size bytes. The length is verified
// before the first byte is written.
func (o *Opener) File(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64) (int64, error) {
	return o.file(ctx, dst, src, 0, size)
}

// file is File for a body that begins at the given place of the file behind src.
func (o *Opener) file(ctx context.Context, dst io.WriterAt, src io.ReaderAt, begin, size int64) (int64, error) {
	r, err := o.ReaderAt(src, size)
	if err != nil {
		return 0, err
	}
	defer r.body.Wipe()
	// Security: after the length was verified, or a stranger who made the object
	// longer, by nothing but a hole in a file, would fill the disk.
	if err := reserve(dst, r.plain); err != nil {
		return 0, err
	}
	count := batches(r.plain)
	err = inParallel(ctx, o.workers, count, func(b *buffers, batch int64) error {
		from, to := span(batch, cobblestone.Offset, size)
		sealed := b.input(to-from, begin+from)
		if err := readAt(src, sealed, from); err != nil {
			return err
		}
		at, end := span(batch, plainOffset, r.plain)
		out, err := r.body.OpenRun(b.output(end-at, at), batch*batchChunks, sealed, batch == count-1)
		if err != nil {
			return opened(err)
		}
		for ; len(out) > alignedWrite; at, out = at+alignedWrite, out[alignedWrite:] {
			if err := writeAt(dst, out[:alignedWrite], at); err != nil {
				return err
			}
		}
		return writeAt(dst, out, at)
	})
	if err != nil {
		return 0, err
	}
	return r.plain, nil
}

// alignedWrite is how much plaintext is written at a time. Linux backs a write
// that begins at a multiple of its own length with one piece of contiguous memory
// for the page cache. With pieces of 1 MiB the median run took nearly twice the
// processor time; the likely cause is memory that was free for long, which a virtual
// machine gives back to its host, whose fault the next touch is. Ciphertext begins at odd places, where
// the kernel takes smaller pieces by itself.
const alignedWrite = 256 << 10

// readPlainAt fills p; a source that ends before it has changed under us.
func readPlainAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read plaintext: %w", err)
}

// reserve tells a destination that wants to know.
func reserve(dst io.WriterAt, size int64) error {
	r, ok := dst.(Reserver)
	if !ok {
		return nil
	}
	if err := r.Reserve(size); err != nil {
		return fmt.Errorf("reserve room for output: %w", err)
	}
	return nil
}

func writeAt(dst io.WriterAt, p []byte, off int64) error {
	n, err := dst.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (b *buffers) wipe() {
	secret.Wipe(b.in[:cap(b.in)])
	secret.Wipe(b.out[:cap(b.out)])
}
