// SPDX-License-Identifier: Apache-2.0

package keywork

import (
	"container/list"
	"sync"

	"claviger/envelope"
	"claviger/internal/hierarchy"
	"claviger/internal/secret"
)

// maxKept is how many keys are kept at once. Each takes 288 bytes of locked
// memory, in all 2.3 MiB of the 8 MiB that RLIMIT_MEMLOCK commonly allows, and
// three times as much of ordinary memory.
const maxKept = 8192

// name is everything that a leaf is derived from.
type name struct {
	keyID     [16]byte
	version   uint64
	vc        [32]byte // what the version's key has to be, as the log says
	segment   [16]byte // where its secret lies; another one after an erasure
	epoch     uint64
	root      uint64
	algorithm string
	purpose   string
	partition string
}

func nameOf(v *hierarchy.Version, purpose string, partition []byte) name {
	return name{v.KeyID, v.Number, v.VC, v.Segment, v.ErasureEpoch, v.RootGeneration, v.Algorithm, purpose, string(partition)}
}

// kept is a leaf and what is made of it.
type kept struct {
	name name
	leaf *secret.Bytes
	kc   [32]byte // its commitment

	making sync.Mutex
	field  *envelope.LeafKey // once it was needed

	users int  // guarded by the cache's mutex, as gone is
	gone  bool // out of the cache: the last user wipes it
}

func (k *kept) wipe() {
	k.leaf.Wipe()
	if k.field != nil {
		k.field.Wipe()
	}
}

// cache keeps leaves, the least recently used out first. It is safe for
// concurrent use.
type cache struct {
	most    int
	mu      sync.Mutex
	order   *list.List // of *kept, newest in front
	entries map[name]*list.Element
}

func newCache(most int) *cache {
	return &cache{most: most, order: list.New(), entries: make(map[name]*list.Element)}
}

// take returns what is kept under a name, nil if nothing is. Whoever takes gives
// back.
func (c *cache) take(n name) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takeLocked(n)
}

func (c *cache) takeLocked(n name) *kept {
	el, ok := c.entries[n]
	if !ok {
		return nil
	}
	c.order.MoveToFront(el)
	k := el.Value.(*kept)
	k.users++
	return k
}

// keep puts k in and takes it, or takes what somebody else has put under its name
// meanwhile and wipes k.
func (c *cache) keep(k *kept) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.takeLocked(k.name); have != nil {
		k.wipe()
		return have
	}
	k.users = 1
	c.entries[k.name] = c.order.PushFront(k)
	for c.order.Len() > c.most {
		c.drop(c.order.Back())
	}
	return k
}

// giveBack ends a use.
func (c *cache) giveBack(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.users--; k.users == 0 && k.gone {
		k.wipe()
	}
}

func (c *cache) drop(el *list.Element) {
	k := c.order.Remove(el).(*kept)
	delete(c.entries, k.name)
	if k.gone = true; k.users == 0 {
		k.wipe()
	}
}

// clear wipes everything that nobody uses, and the rest after its use.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}
