// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"sync"
	"sync/atomic"

	"claviger/envelope/internal/cobblestone"
)

const (
	// batchChunks is how many chunks a worker takes at a time: 1 MiB, at which
	// size reading, sealing and writing reach the speed of a copy. Twice as much
	// saves 2 % where memory is at hand; in a virtual machine that gives free memory
	// back to its host it has the page cache ask for the large pieces that went
	// there, and may take twice the time.
	batchChunks = 64
	batchPlain  = batchChunks * cobblestone.ChunkSize
	batchSealed = batchChunks * cobblestone.SealedChunkSize
)

// batches is how many batches a body with so much plaintext has. The last one
// ends with the final chunk and may hold no plaintext at all.
func batches(plain int64) int64 { return plain/batchPlain + 1 }

// inParallel calls work for each number below n, on so many goroutines, each with
// a buffer pair of its own. It returns the first error, after all have stopped.
func inParallel(ctx context.Context, workers int, n int64, work func(b *buffers, batch int64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(int64(workers), n) {
		group.Go(func() {
			var b buffers
			defer b.wipe()
			for ctx.Err() == nil {
				batch := next.Add(1) - 1
				if batch >= n {
					return
				}
				if err := work(&b, batch); err != nil {
					cancel(err) // only the first one counts
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// buffers are what one worker reads into and writes from.
type buffers struct{ in, out []byte }

// pageSize is the kernel's on most machines.
const pageSize = 4096

// input returns n bytes to read into from the given place of a file.
func (b *buffers) input(n, at int64) []byte { return place(&b.in, n, at) }

// output returns room for n bytes that go to the given place of a file.
func (b *buffers) output(n, at int64) []byte { return place(&b.out, n, at)[:0] }

// place returns n bytes that lie in memory as at lies in a page: the kernel takes
// twice as long to copy into the page cache where these two differ. What is as large
// as a batch begins with a page; nothing but speed depends on it.
func place(room *[]byte, n, at int64) []byte {
	skip := at % pageSize
	if int64(cap(*room)) < skip+n {
		*room = make([]byte, pageSize+n)
	}
	return (*room)[skip : skip+n : skip+n]
}
