// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"runtime"
	"sync"
	"time"
)

// A cell is a block together with what happens when nobody can reach it any
// more. Handles that callers hold (Bytes, AEAD) point to cells and are never
// used twice, so that a use after Wipe panics instead of meeting another
// secret. Cells of the common small sizes are recycled: allocating a block and
// registering its clean-up is most of the cost of a short-lived key.
type cell struct {
	block   *block
	cleanup runtime.Cleanup
}

// recycled is the largest slot size whose cells are kept for reuse.
const recycled = 128

// spares holds wiped cells, one pool for each size up to recycled. The garbage
// collector empties it, and each cell gives its memory back then.
var spares = sync.OnceValue(func() *[len(slotSizes)]sync.Pool { return new([len(slotSizes)]sync.Pool) })

// newCell returns a cell of at least n zero bytes.
func newCell(n int) *cell {
	if n <= recycled {
		if c, ok := spares()[classOf(n)].Get().(*cell); ok {
			return c
		}
	}
	c := &cell{block: memory().alloc(n)}
	c.cleanup = runtime.AddCleanup(c, dropped, c.block)
	return c
}

// end wipes the cell, whose handle is done with it. Unlocked memory always
// goes back to the arena, which hands it out last.
func (c *cell) end() {
	b := c.block
	if b.size > recycled || b.level == levelNone {
		c.cleanup.Stop()
		memory().release(b)
		runtime.KeepAlive(c) // Stop is only certain while c is reachable
		return
	}
	Wipe(b.bytes())
	b.exposed.Store(false)
	spares()[classOf(b.size)].Put(c)
}

// dropped wipes the memory of a cell that nobody can reach any more.
func dropped(b *block) {
	if !b.exposed.Load() {
		memory().release(b)
		return
	}
	time.AfterFunc(grace, func() { memory().release(b) })
}
