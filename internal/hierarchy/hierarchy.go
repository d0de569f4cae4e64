// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"errors"
	"fmt"
	"sync"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// Errors that callers branch on.
var (
	// ErrErased: the version is destroyed, its segment has no key in this
	// erasure epoch. A store that hides the segment key looks the same; which
	// of the two it is, the log says.
	ErrErased = errors.New("version is erased")
	// ErrNotFound: the store does not give what the log says was stored.
	ErrNotFound = errors.New("version is not in the store")
	// ErrCommitment: the key that the slots and the root give is not the one
	// whose commitment the log holds.
	ErrCommitment = errors.New("key does not match its version commitment")
	// ErrExists: the directory holds an epoch file already.
	ErrExists = errors.New("epoch file exists")
	// ErrMissing: the directory holds no epoch file. Without another server or
	// a backup that carries the erasure-epoch key, the keys are gone.
	ErrMissing = errors.New("epoch file is missing")
	// ErrCorrupt: the epoch file is damaged, or custody is not the one it was
	// sealed under.
	ErrCorrupt = errors.New("epoch file does not open")
	// ErrForeign: the epoch file is another domain's, server's or root's, or
	// belongs to another history of the log.
	ErrForeign = errors.New("epoch file is foreign")
	// ErrAhead: the epoch file is newer than the log, so the log was put back.
	ErrAhead = errors.New("epoch file is newer than the log")
	// ErrWaiting: this server has no erasure-epoch key yet. Take its receipt to
	// another server and give [Hierarchy.Accept] the grant that it answers.
	ErrWaiting = errors.New("server waits for its erasure-epoch key")
	// ErrSwitched: an erasure came between. What was made is void; try again.
	ErrSwitched = errors.New("erasure epoch changed meanwhile")
	// ErrStored: the version's key is stored material, from which no leaves are
	// derived.
	ErrStored = errors.New("version holds stored material")
	// ErrInvalid: an argument, or something that was read, breaks a rule.
	ErrInvalid = errors.New("invalid")
	// ErrIncomplete: not everything that an erasure must keep is readable under
	// the new erasure-epoch key. Nothing was erased.
	ErrIncomplete = errors.New("survivors are not all readable")
)

// Options say whose hierarchy to open and with what.
type Options struct {
	Custody    Custody            // the root of Generation
	Domain     [32]byte           // hash of the genesis
	Generation uint64             // root generation, from 1
	Former     map[uint64]Custody // custody of earlier root generations, whose versions stay derivable; may be nil
	Server     [16]byte           // this server's id
	Slots      store.Slots        // shared by the domain's servers; untrusted
	Dir        string             // holds the epoch file, 0700; unused if FS is set
	FS         FS                 // nil: Dir
	CacheBytes int                // bound of unwrapped keys kept in memory; 0: DefaultCacheBytes
}

// DefaultCacheBytes bounds the cache of unwrapped keys: about 6,000 of them.
const DefaultCacheBytes = 1 << 20

// Hierarchy derives the keys of one domain on one server. All methods are safe
// for concurrent use, except Close.
type Hierarchy struct {
	o     Options
	fs    FS
	roots map[uint64]*secret.Bytes // DS by root generation; read only
	local *secret.Bytes
	slot  *secret.Bytes
	cache *cache

	openMu sync.Mutex // held by whoever writes open or cur; taken before mu
	open   *openSegment

	mu  sync.RWMutex // guards cur, for readers that don't hold openMu
	cur *epochState
}

// check refuses Options that can't be meant.
func (o *Options) check() error {
	if o.Custody == nil || o.Generation == 0 || o.Domain == [32]byte{} || o.Server == [16]byte{} {
		return fmt.Errorf("%w options: custody, root generation, domain and server are needed", ErrInvalid)
	}
	return nil
}

// newHierarchy derives the root keys and opens the directory.
func newHierarchy(o Options) (h *Hierarchy, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	h = &Hierarchy{o: o, fs: o.FS, roots: make(map[uint64]*secret.Bytes), cache: newCache(o.CacheBytes)}
	defer func() {
		if err != nil {
			h.Close()
			h = nil
		}
	}()
	if h.fs == nil {
		if h.fs, err = openDir(o.Dir); err != nil {
			return h, err
		}
	}
	if h.local, err = LocalSeal(o.Custody, o.Domain, o.Generation); err != nil {
		return h, err
	}
	if h.slot, err = SlotSeal(o.Custody, o.Domain, o.Generation); err != nil {
		return h, err
	}
	for generation, custody := range o.Former {
		if h.roots[generation], err = DomainSecret(custody, o.Domain, generation); err != nil {
			return h, err
		}
	}
	h.roots[o.Generation], err = DomainSecret(o.Custody, o.Domain, o.Generation)
	return h, err
}

// Close wipes every key in memory. No other method may run or be called after.
func (h *Hierarchy) Close() {
	for _, ds := range h.roots {
		wipe(ds)
	}
	wipe(h.local)
	wipe(h.slot)
	h.cache.clear()
	h.open.wipe()
	h.cur.wipe()
	if d, ok := h.fs.(*dirFS); ok && h.o.FS == nil && d != nil {
		d.root.Close()
	}
}

// Epoch is the erasure epoch whose key this server holds or waits for.
func (h *Hierarchy) Epoch() EpochID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.cur.at
}

// Waiting reports whether this server has no erasure-epoch key yet.
func (h *Hierarchy) Waiting() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.cur.eek == nil
}

// snapshot copies the current state, so that no lock is held while the store is
// asked. The caller wipes it.
func (h *Hierarchy) snapshot() (*epochState, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.cur.eek == nil {
		return nil, ErrWaiting
	}
	return &epochState{at: h.cur.at, eek: h.cur.eek.Clone(), seed: h.cur.seed.Clone(), public: h.cur.public}, nil
}

// current reports whether no erasure came since the snapshot was taken.
func (h *Hierarchy) current(s *epochState) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.cur.at == s.at
}

// remember puts a key into the cache, unless an erasure came since the snapshot:
// a key of a destroyed version must not come back through a slow reader.
func (h *Hierarchy) remember(s *epochState, id [32]byte, key *secret.Bytes) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.cur.at == s.at {
		h.cache.put(id, key)
	}
}

func wipe(b *secret.Bytes) {
	if b != nil {
		b.Wipe()
	}
}
