// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// The arena hands out small slots of protected memory. Locked memory is scarce
// (RLIMIT_MEMLOCK is often 8 MiB) and comes in pages, so many secrets share a
// page. A page holds slots of one size; when its last slot is given back it
// can take another size. Bookkeeping lies on the ordinary heap: an overrun in
// protected memory can't reach it.
//
// Mapped memory stays mapped until the process ends: after a peak it is reused,
// not returned. Only values above maxSlot have a mapping of their own.

const (
	pageSize = 4096
	maxSlot  = pageSize
	minChunk = 64 << 10
	maxChunk = 1 << 20
)

// slotSizes are the sizes a page can be cut into, all multiples of 32 so that
// every slot is aligned for any Go type. 768 exists for the AES-GCM state.
var slotSizes = [...]int{32, 64, 128, 256, 512, 768, 1024, 2048, 4096}

// level says how well a piece of memory is protected; smaller is better.
type level uint8

const (
	levelSecret level = iota // memfd_secret(2)
	levelLocked              // mlock(2), kept out of core dumps
	levelNone                // at best kept out of core dumps
)

func (l level) String() string {
	switch l {
	case levelSecret:
		return "memfd_secret"
	case levelLocked:
		return "mlock"
	default:
		return "none"
	}
}

// mapper obtains memory from the system. Tests replace it.
type mapper struct {
	strong func(n int) (unsafe.Pointer, level, error) // locked memory, zeroed
	weak   func(n int) (unsafe.Pointer, error)        // unlocked memory, zeroed
	unmap  func(p unsafe.Pointer, n int)
}

// A block is one slot, or one mapping of its own if page is nil.
type block struct {
	page  *page
	slot  int
	addr  unsafe.Pointer
	size  int // of the slot, at least what was asked for
	level level
	// exposed says that a caller has seen the memory: see dropped.
	exposed atomic.Bool
}

// bytes views the block. The caller keeps the owner of the block reachable for
// as long as it uses the view.
func (b *block) bytes() []byte { return unsafe.Slice((*byte)(b.addr), b.size) }

type page struct {
	addr  unsafe.Pointer
	level level
	class int
	used  int
	free  [pageSize / 32 / 64]uint64 // a set bit is a free slot
	place int                        // index in its pool's partial list, -1 when full
}

// A pool holds the pages of one degree of protection.
type pool struct {
	empty   []*page // belong to no size class
	partial [len(slotSizes)][]*page
}

// stats counts bytes. See Usage for the exported form.
type stats struct {
	locked, unlocked, inUse int
	weakest                 level
}

type arena struct {
	sys mapper

	mu           sync.Mutex
	locked, weak pool
	exhausted    bool // the system refused more locked memory
	stats        stats
}

func newArena(sys mapper) *arena { return &arena{sys: sys} }

// alloc returns a zeroed block of at least n bytes. It prefers locked memory,
// and never fails for want of it: a key in unlocked memory is better than a
// server that stops answering, and Protection tells.
func (a *arena) alloc(n int) *block {
	if n > maxSlot {
		return a.allocLarge(n)
	}
	class := classOf(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.locked.page(class)
	if p == nil && !a.exhausted && a.growLocked() {
		p = a.locked.page(class)
	}
	if p == nil {
		p = a.weak.page(class)
	}
	if p == nil {
		a.growWeak()
		p = a.weak.page(class)
	}
	b := p.take()
	if p.used == p.slots() {
		a.poolOf(p.level).unlist(p)
	}
	a.stats.inUse += b.size
	return b
}

// release wipes b and gives it back. Giving back twice panics: the second time
// the slot may hold another secret.
func (a *arena) release(b *block) {
	if b.page == nil {
		a.releaseLarge(b)
		return
	}
	Wipe(b.bytes())
	a.mu.Lock()
	defer a.mu.Unlock()
	p := b.page
	word, bit := b.slot/64, uint64(1)<<(b.slot%64)
	if p.free[word]&bit != 0 {
		panic("secret: memory given back twice")
	}
	p.free[word] |= bit
	p.used--
	a.stats.inUse -= b.size
	pl := a.poolOf(p.level)
	if p.place < 0 {
		pl.list(p)
	}
	if p.used == 0 {
		pl.unlist(p)
		pl.empty = append(pl.empty, p)
	}
}

func (a *arena) poolOf(l level) *pool {
	if l == levelNone {
		return &a.weak
	}
	return &a.locked
}

// growLocked maps another chunk of locked memory, or notes that there is none
// to be had. It tries a large chunk first, because each is a mapping of its
// own in the kernel's books.
func (a *arena) growLocked() bool {
	for _, n := range []int{a.nextChunk(), minChunk} {
		addr, l, err := a.sys.strong(n)
		if err == nil {
			a.locked.add(addr, n, l)
			a.stats.locked += n
			a.stats.weakest = max(a.stats.weakest, l)
			return true
		}
	}
	a.exhausted = true
	return false
}

func (a *arena) growWeak() {
	n := a.nextChunk()
	addr, err := a.sys.weak(n)
	if err != nil {
		panic(fmt.Sprintf("secret: no memory: %v", err))
	}
	a.weak.add(addr, n, levelNone)
	a.stats.unlocked += n
	a.stats.weakest = levelNone
}

// nextChunk doubles what is mapped, within bounds.
func (a *arena) nextChunk() int {
	total := uint(a.stats.locked + a.stats.unlocked)
	return min(max(1<<bits.Len(total/2), minChunk), maxChunk)
}

func (a *arena) allocLarge(n int) *block {
	size := (n + minChunk - 1) / minChunk * minChunk
	a.mu.Lock()
	defer a.mu.Unlock()
	addr, l, err := a.sys.strong(size)
	if err != nil {
		addr, err = a.sys.weak(size)
		l = levelNone
	}
	if err != nil {
		panic(fmt.Sprintf("secret: no memory: %v", err))
	}
	a.count(l, size)
	a.stats.weakest = max(a.stats.weakest, l)
	return &block{addr: addr, size: size, level: l}
}

func (a *arena) releaseLarge(b *block) {
	Wipe(b.bytes())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sys.unmap(b.addr, b.size)
	a.count(b.level, -b.size)
}

func (a *arena) count(l level, n int) {
	a.stats.inUse += n
	if l == levelNone {
		a.stats.unlocked += n
	} else {
		a.stats.locked += n
	}
}

func (a *arena) snapshot() stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// classOf returns the index of the smallest slot size that holds n bytes.
func classOf(n int) int {
	for i, size := range slotSizes {
		if n <= size {
			return i
		}
	}
	panic("secret: classOf: too large")
}

// add cuts a mapping into pages.
func (pl *pool) add(addr unsafe.Pointer, n int, l level) {
	for off := 0; off < n; off += pageSize {
		pl.empty = append(pl.empty, &page{addr: unsafe.Add(addr, off), level: l})
	}
}

// page returns a page with a free slot of the class, or nil.
func (pl *pool) page(class int) *page {
	if list := pl.partial[class]; len(list) > 0 {
		return list[len(list)-1]
	}
	last := len(pl.empty) - 1
	if last < 0 {
		return nil
	}
	p := pl.empty[last]
	pl.empty = pl.empty[:last]
	p.class = class
	clear(p.free[:])
	for i := range p.slots() {
		p.free[i/64] |= 1 << (i % 64)
	}
	pl.list(p)
	return p
}

func (pl *pool) list(p *page) {
	p.place = len(pl.partial[p.class])
	pl.partial[p.class] = append(pl.partial[p.class], p)
}

func (pl *pool) unlist(p *page) {
	list := pl.partial[p.class]
	last := len(list) - 1
	list[p.place] = list[last]
	list[p.place].place = p.place
	list[last] = nil
	pl.partial[p.class] = list[:last]
	p.place = -1
}

func (p *page) slots() int { return pageSize / slotSizes[p.class] }

// take marks a free slot as used; the page has one.
func (p *page) take() *block {
	for w, word := range p.free {
		if word == 0 {
			continue
		}
		i := w*64 + bits.TrailingZeros64(word)
		p.free[w] &= word - 1
		p.used++
		size := slotSizes[p.class]
		return &block{
			page: p, slot: i, size: size, level: p.level,
			addr: unsafe.Add(p.addr, i*size),
		}
	}
	panic("secret: take from a full page")
}
