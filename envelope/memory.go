// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

// Append appends the body of plaintext to dst, which must not overlap it. A dst
// with room for it, such as that of an earlier call, is quicker than fresh memory.
func (s *Sealer) Append(dst, plaintext []byte) ([]byte, error) {
	body, err := s.take()
	if err != nil {
		return nil, err
	}
	defer body.Wipe()
	size, err := cobblestone.SealedSize(int64(len(plaintext)))
	if err != nil {
		return nil, sealed(err)
	}
	dst, out := extend(dst, size)
	copy(out, body.Prefix())
	count := batches(int64(len(plaintext)))
	err = inMemory(s.workers, count, func(batch int64) error {
		at, end := span(batch, cobblestone.Offset, size)
		from, to := span(batch, plainOffset, int64(len(plaintext)))
		_, err := body.SealRun(out[at:at:end], batch*batchChunks, plaintext[from:to], batch == count-1)
		return sealed(err)
	})
	return dst, err
}

// Append appends the plaintext of a body to dst, which must not overlap it.
// Errors: ErrIntegrity; then nothing of the plaintext is left behind dst either.
func (o *Opener) Append(dst, ciphertext []byte) ([]byte, error) {
	plain, err := cobblestone.PlainSize(int64(len(ciphertext)))
	if err != nil {
		return nil, opened(err)
	}
	body, err := o.key.Parse(ciphertext[:cobblestone.PrefixSize], o.context[:])
	if err != nil {
		return nil, opened(err)
	}
	defer body.Wipe()
	dst, out := extend(dst, plain)
	count := batches(plain)
	err = inMemory(o.workers, count, func(batch int64) error {
		from, to := span(batch, cobblestone.Offset, int64(len(ciphertext)))
		at, end := span(batch, plainOffset, plain)
		_, err := body.OpenRun(out[at:at:end], batch*batchChunks, ciphertext[from:to], batch == count-1)
		return opened(err)
	})
	if err != nil {
		secret.Wipe(out) // what other batches wrote
		return nil, err
	}
	return dst, nil
}

// extend makes dst longer by n bytes and returns it and these bytes.
//
// What is made has nothing copied into it by the next statement: of such a pair
// the compiler makes one call that writes zeros to all of it, even to pages fresh
// from the kernel, and can't be interrupted meanwhile. With a second processor a
// garbage collection then wants to look at this goroutine's stack, and sends it a
// signal every five microseconds until the last page is there: ten times the time.
func extend(dst []byte, n int64) (whole, added []byte) {
	size := int64(len(dst)) + n
	if int64(cap(dst)) >= size {
		whole = dst[:size]
	} else {
		whole = make([]byte, size)
		if len(dst) > 0 {
			copy(whole, dst)
		}
	}
	return whole, whole[len(dst):]
}

// span is where a batch lies in something of the given size; offset says where a
// chunk begins.
func span(batch int64, offset func(chunk int64) int64, size int64) (from, to int64) {
	return offset(batch * batchChunks), min(offset((batch+1)*batchChunks), size)
}

func plainOffset(chunk int64) int64 { return chunk * cobblestone.ChunkSize }

// inMemory is inParallel for work that needs no buffers. What is short stays on
// the caller's goroutine.
func inMemory(workers int, count int64, work func(batch int64) error) error {
	if count == 1 {
		return work(0)
	}
	return inParallel(context.Background(), workers, count, func(_ *buffers, batch int64) error { return work(batch) })
}
