// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"claviger/internal/wire"
)

// Ring is a set of keys by id and by name, packed. A nil Ring has none, and takes
// none; use [New].
type Ring struct {
	rows  map[wire.KeyID]string
	names map[string]wire.KeyID // each name lies in its key's row

	// What LongestLease says is kept, so that a revocation, which holds up
	// everybody, doesn't look at every key.
	leases map[uint64]int // how many keys have settings with a lease
	ends   int64          // the latest Key.LeaseEnds; no key goes, and none's gets earlier
}

// New returns an empty Ring.
func New() *Ring {
	return &Ring{rows: map[wire.KeyID]string{}, names: map[string]wire.KeyID{}, leases: map[uint64]int{}}
}

// Put adds a key, or replaces the one with its id. A key never changes its name.
func (r *Ring) Put(k *Key) { r.put(rowOf(k)) }

func (r *Ring) put(row Row) {
	if old, ok := r.rows[row.id]; ok {
		lease := leaseIn(old)
		if r.leases[lease]--; r.leases[lease] == 0 {
			delete(r.leases, lease)
		}
	}
	r.leases[row.lease]++
	r.ends = max(r.ends, row.ends)
	r.rows[row.id] = row.data
	r.names[row.name] = row.id // assigns the name anew, so that the old row can go
}

func rowOf(k *Key) Row {
	data := pack(k)
	u := unpacker{in: data}
	u.array(keyElements)
	var id wire.KeyID
	u.bytes(id[:])
	return Row{id: id, name: u.text(), data: data, lease: k.Settings.Lease, ends: k.LeaseEnds}
}

// Get returns the key with this id, nil without one.
func (r *Ring) Get(id wire.KeyID) *Key {
	if r == nil {
		return nil
	}
	row, ok := r.rows[id]
	if !ok {
		return nil
	}
	k := new(Key)
	unpack(row, k)
	return k
}

// unpack reads a row of a Ring, which was read or written before.
func unpack(row string, k *Key) {
	u := unpacker{in: row}
	if u.key(k); u.bad {
		panic("keyring: a row that was never packed")
	}
}

// Has reports whether a key has this id.
func (r *Ring) Has(id wire.KeyID) bool { _, ok := r.rows[id]; return ok }

// Named returns the key with this name, nil without one.
func (r *Ring) Named(name string) *Key {
	if r == nil {
		return nil
	}
	id, ok := r.names[name]
	if !ok {
		return nil
	}
	return r.Get(id)
}

// Len is the number of keys.
func (r *Ring) Len() int { return len(r.rows) }

// All yields every key in the order of names, each a copy of its own.
func (r *Ring) All() iter.Seq[*Key] {
	names := slices.Sorted(maps.Keys(r.names))
	return func(yield func(*Key) bool) {
		for _, name := range names {
			if !yield(r.Named(name)) {
				return
			}
		}
	}
}

// Scan yields every key, in no order, and allocates nothing for it: the key, with
// its lists, is overwritten when the loop goes on. Texts may be kept.
func (r *Ring) Scan() iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		var k Key
		for _, row := range r.rows {
			if unpack(row, &k); !yield(&k) {
				return
			}
		}
	}
}

// Update calls edit with every key, in no order, and replaces those of which it
// says that it changed them. Edit must not change id or name.
func (r *Ring) Update(edit func(*Key) (changed bool)) {
	var k Key
	for _, row := range r.rows {
		if unpack(row, &k); edit(&k) {
			r.Put(&k)
		}
	}
}

// LongestLease is the longest lease, in seconds from now on (Unix milliseconds),
// that any key may be out for.
func (r *Ring) LongestLease(now int64) uint64 {
	longest := (&Key{LeaseEnds: r.ends, Settings: Settings{Lease: DefaultLease}}).LeaseOut(now)
	for lease := range r.leases {
		longest = max(longest, lease)
	}
	return longest
}

// Clone returns a Ring of its own with the same keys.
func (r *Ring) Clone() *Ring {
	return &Ring{maps.Clone(r.rows), maps.Clone(r.names), maps.Clone(r.leases), r.ends}
}

// Row is a packed key.
type Row struct {
	id    wire.KeyID
	name  string
	data  string
	lease uint64 // Settings.Lease
	ends  int64  // LeaseEnds
}

// Rows are packed keys.
type Rows []string

// Rows lists all keys, packed, in no order. It copies no row, so it takes a
// moment only.
func (r *Ring) Rows() Rows {
	out := make(Rows, 0, len(r.rows))
	for _, row := range r.rows {
		out = append(out, row)
	}
	return out
}

// Parts yields the rows in the order of ids, in parts of about size bytes that
// [Split] reads.
func (l Rows) Parts(size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		slices.SortFunc(l, cmp.Compare) // the id is the first thing in which rows differ
		for from, sum := 0, 0; from < len(l); sum = 0 {
			to := from
			for ; to < len(l) && sum < size; to++ {
				sum += len(l[to])
			}
			if !yield(l[from:to].join()) {
				return
			}
			from = to
		}
	}
}

func (l Rows) join() []byte {
	size := 0
	for _, row := range l {
		size += len(row)
	}
	out := make([]byte, 0, size)
	for _, row := range l {
		out = append(out, row...)
	}
	return out
}

// Split reads a part, each row to its end, or returns
// wire.ErrMalformed.
func Split(joined []byte) ([]Row, error) {
	var out []Row
	var k Key
	for u := (unpacker{in: string(joined)}); u.in != ""; {
		whole := u.in
		if u.key(&k); u.bad {
			return nil, fmt.Errorf("%w: key", u.malformed())
		}
		out = append(out, Row{k.ID, k.Name, whole[:len(whole)-len(u.in)], k.Settings.Lease, k.LeaseEnds})
	}
	return out, nil
}

// Add adds keys that must be new, by id and by name, or returns
// wire.ErrMalformed.
func (r *Ring) Add(rows []Row) error {
	for _, row := range rows {
		if r.put(row); len(r.rows) != len(r.names) {
			return fmt.Errorf("%w: a key's name or id is another's", wire.ErrMalformed)
		}
	}
	return nil
}
