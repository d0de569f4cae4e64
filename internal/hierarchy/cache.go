// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"container/list"
	"sync"

	"claviger/internal/secret"
)

// entryCost is what an entry is counted for besides its key: the list element,
// the map slot and the handle.
const entryCost = 160

// cache keeps unwrapped keys under the hash of what they belong to, least
// recently used out first. Keys that leave are wiped.
type cache struct {
	mu      sync.Mutex
	bound   int
	size    int
	order   *list.List // of *entry, newest in front
	entries map[[32]byte]*list.Element
}

type entry struct {
	id  [32]byte
	key *secret.Bytes
}

func newCache(bound int) *cache {
	if bound == 0 {
		bound = DefaultCacheBytes
	}
	return &cache{bound: bound, order: list.New(), entries: make(map[[32]byte]*list.Element)}
}

// get returns a copy for the caller to wipe, or nil.
func (c *cache) get(id [32]byte) *secret.Bytes {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[id]
	if !ok {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*entry).key.Clone()
}

// put keeps a copy of key. A key that is larger than the bound is not kept.
func (c *cache) put(id [32]byte, key *secret.Bytes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[id]; ok || key.Len()+entryCost > c.bound {
		return
	}
	c.entries[id] = c.order.PushFront(&entry{id: id, key: key.Clone()})
	c.size += key.Len() + entryCost
	for c.size > c.bound {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(el *list.Element) {
	e := c.order.Remove(el).(*entry)
	delete(c.entries, e.id)
	c.size -= e.key.Len() + entryCost
	e.key.Wipe()
}

// clear wipes everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}
