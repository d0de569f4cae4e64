// SPDX-License-Identifier: Apache-2.0

// Package leases keeps released keys while they may be used.
//
// A [Cache] holds [Lease]s under the [Ask] that got them, fetches each once
// however many goroutines want it, forgets the least recently used beyond its
// bound, and wipes what it forgets as soon as nobody uses it any more. Whether a
// lease still counts is not known here: the caller says so each time, in the test
// it gives to [Cache.Get], because that depends on clocks and news.
//
// The package knows nothing of servers, policies or signatures.
package leases

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"claviger/envelope"
	"claviger/internal/wire"
)

// Ask is what was asked for, in a form that can be compared.
type Ask struct {
	Name       string     // key's name; empty if asked by id
	ID         wire.KeyID // zero if asked by name
	Version    uint64     // 0 = the current one
	Partition  string
	Hidden     bool // ciphertexts leave the partition out
	Operations string
}

// size of one lease in memory, in bytes, as far as the bound goes: two expanded
// keys, their share of protected pages, the grant's item and the map's entry.
const size = 8 << 10

// Terms are what a server said about a key when it released it.
type Terms struct {
	Item   wire.GrantItem
	Epoch  wire.Epoch // at which it was released
	Head   wire.Hash  // of the log then
	Server wire.ServerID
	Grant  wire.Hash            // names the signed grant
	Age    func() time.Duration // how long ago, at most, it was released
	Ahead  bool                 // it came ahead of need, and vouches for nothing itself
}

// Lease is a key with its terms, which don't change.
type Lease struct {
	Terms

	key *envelope.LeafKey

	mu    sync.Mutex
	users int
	gone  bool
}

// New returns a lease of key, which it owns from now on.
func New(terms Terms, key *envelope.LeafKey) *Lease { return &Lease{Terms: terms, key: key} }

// ErrGone means that the lease ended before it could be used.
var ErrGone = errors.New("lease has ended")

// Use calls f with the key, which stays usable until f returns and must not be
// kept. It returns ErrGone once the lease was dropped.
func (l *Lease) Use(f func(*envelope.LeafKey) error) error {
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return ErrGone
	}
	l.users++
	l.mu.Unlock()
	defer l.done()
	return f(l.key)
}

func (l *Lease) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	if l.gone && l.users == 0 {
		l.key.Wipe()
	}
}

// Drop ends the lease. The key is wiped when its last user is done.
func (l *Lease) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone && l.users == 0 {
		l.key.Wipe()
	}
	l.gone = true
}

// Cache holds leases. It is safe for concurrent use.
type Cache struct {
	limit int

	mu      sync.Mutex
	entries map[Ask]*list.Element // of *entry
	order   *list.List            // front: used last
	calls   map[Ask]*call
	closed  bool
}

type entry struct {
	ask   Ask
	lease *Lease
}

type call struct {
	done   chan struct{}
	lease  *Lease
	err    error
	gaveUp bool // its own caller did
}

// NewCache returns a cache of at most about limit bytes, and always of one
// lease.
func NewCache(limit int) *Cache {
	return &Cache{limit: max(1, limit/size), entries: map[Ask]*list.Element{}, order: list.New(), calls: map[Ask]*call{}}
}

// Get returns the lease kept for ask if good says that it still counts, and else
// what fetch gets. Callers with the same ask share one fetch. A fetch that fails
// drops nothing; the next Get tries again.
func (c *Cache) Get(ctx context.Context, ask Ask, good func(*Lease) bool, fetch func() (*Lease, error)) (*Lease, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrGone
		}
		if l := c.look(ask); l != nil && good(l) {
			c.mu.Unlock()
			return l, nil
		}
		if running, ok := c.calls[ask]; ok {
			c.mu.Unlock()
			if l, err, again := running.wait(ctx); !again {
				return l, err
			}
			continue
		}
		mine := &call{done: make(chan struct{})}
		c.calls[ask] = mine
		c.mu.Unlock()
		return c.run(ctx, ask, mine, fetch)
	}
}

// wait waits for another goroutine's fetch. again means that it failed because
// its own caller gave up, which says nothing to this one.
func (k *call) wait(ctx context.Context) (l *Lease, err error, again bool) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err(), false
	case <-k.done:
	}
	return k.lease, k.err, k.gaveUp && ctx.Err() == nil
}

func (c *Cache) run(ctx context.Context, ask Ask, mine *call, fetch func() (*Lease, error)) (*Lease, error) {
	mine.err = errors.New("fetch did not return")
	defer func() {
		c.mu.Lock()
		delete(c.calls, ask)
		if mine.err == nil {
			c.put(ask, mine.lease)
		}
		c.mu.Unlock()
		close(mine.done)
	}()
	mine.lease, mine.err = fetch()
	// The context is asked and not the error: a server that doesn't answer in time
	// gives the same one, and those who wait must not find that out in turn.
	mine.gaveUp = mine.err != nil && ctx.Err() != nil
	return mine.lease, mine.err
}

// Peek returns the lease kept for ask, nil if there is none. Whether it counts is
// the caller's to judge.
func (c *Cache) Peek(ask Ask) *Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look(ask)
}

func (c *Cache) look(ask Ask) *Lease {
	at, ok := c.entries[ask]
	if !ok {
		return nil
	}
	c.order.MoveToFront(at)
	return at.Value.(*entry).lease
}

// Put keeps a lease under ask in place of an earlier one.
func (c *Cache) Put(ask Ask, l *Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(ask, l)
}

func (c *Cache) put(ask Ask, l *Lease) {
	if c.closed {
		l.Drop()
		return
	}
	if at, ok := c.entries[ask]; ok {
		c.remove(at)
	}
	c.entries[ask] = c.order.PushFront(&entry{ask, l})
	for c.order.Len() > c.limit {
		c.remove(c.order.Back())
	}
}

// Take takes the lease kept for ask out of the Cache: it is the caller's now. nil if
// there is none.
func (c *Cache) Take(ask Ask) *Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.entries[ask]
	if !ok {
		return nil
	}
	delete(c.entries, ask)
	return c.order.Remove(at).(*entry).lease
}

// Drop drops the lease kept for ask.
func (c *Cache) Drop(ask Ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[ask]; ok {
		c.remove(at)
	}
}

func (c *Cache) remove(at *list.Element) {
	e := c.order.Remove(at).(*entry)
	delete(c.entries, e.ask)
	e.lease.Drop()
}

// DropIf drops every lease that end says is over and returns how many.
func (c *Cache) DropIf(end func(*Lease) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for at := c.order.Front(); at != nil; {
		next := at.Next()
		if end(at.Value.(*entry).lease) {
			c.remove(at)
			n++
		}
		at = next
	}
	return n
}

// Asks are those whose lease is wanted, the ones used last first, at most so many.
func (c *Cache) Asks(most int, wanted func(Ask, *Lease) bool) (out []Ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.order.Front(); at != nil && len(out) < most; at = at.Next() {
		if e := at.Value.(*entry); wanted(e.ask, e.lease) {
			out = append(out, e.ask)
		}
	}
	return out
}

// Len is the number of leases kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

// Close drops everything and keeps nothing from then on.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.DropIf(func(*Lease) bool { return true })
}
