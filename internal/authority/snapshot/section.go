// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"

	"claviger/internal/authority/ahead"
	"claviger/internal/wire"
)

const (
	perPart   = 1024      // elements of a list in one part
	hashParts = 512 << 10 // bytes of hashes in one part
)

// Section is a piece of state and how it goes through a snapshot.
type Section struct {
	Name string
	// Capture takes what is to be written, quickly and without sharing anything
	// that changes. The sequence encodes it, later and elsewhere.
	Capture func() iter.Seq[[]byte]
	// Parse reads what Capture's sequence yielded. It may run on several
	// goroutines, and so leaves what it changes to apply, which is called in order.
	Parse func(data []byte) (apply func() error, err error)
}

// part is a part of a file.
type part struct {
	_       struct{} `cbor:",toarray"`
	Section string
	Data    []byte
}

// Capture takes what the sections hold now. The sequence is for [File.Write].
func Capture(sections []Section) iter.Seq[[]byte] {
	taken := make([]iter.Seq[[]byte], len(sections))
	for i, s := range sections {
		taken[i] = s.Capture()
	}
	return func(yield func([]byte) bool) {
		for i, s := range sections {
			for data := range taken[i] {
				if !yield(wire.Marshal(part{Section: s.Name, Data: data})) {
					return
				}
			}
		}
	}
}

// Load gives the sections what stands in the snapshot, or returns ErrUnusable: then
// they hold a part of it.
func (r *Reader) Load(sections []Section) error {
	known := map[string]Section{}
	for _, s := range sections {
		known[s.Name] = s
	}
	for apply, err := range ahead.Map(r.Parts(), func(sealed Sealed) (func() error, error) {
		var p part
		plain, err := r.Unseal(sealed)
		if err != nil {
			return nil, err
		}
		if err := wire.Unmarshal(plain, &p, MaxPart); err != nil {
			return nil, err
		}
		s, ok := known[p.Section]
		if !ok {
			return nil, fmt.Errorf("%w: no section is named so", wire.ErrMalformed)
		}
		return s.Parse(p.Data)
	}) {
		if err == nil {
			err = apply()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnusable, err)
		}
	}
	return nil
}

// Value is a section of one value. A zero value takes no place.
func Value[T any](name string, v *T) Section {
	return Section{
		Name: name,
		Capture: func() iter.Seq[[]byte] {
			if reflect.ValueOf(v).Elem().IsZero() {
				return slices.Values([][]byte(nil))
			}
			return slices.Values([][]byte{wire.Marshal(*v)})
		},
		Parse: func(data []byte) (func() error, error) {
			var got T
			err := wire.Unmarshal(data, &got, MaxPart)
			return func() error { *v = got; return nil }, err
		},
	}
}

// List is a section of a list whose elements never change.
func List[T any](name string, l *[]T) Section {
	return Section{
		Name: name,
		Capture: func() iter.Seq[[]byte] {
			return encoded(slices.Chunk(slices.Clone(*l), perPart))
		},
		Parse: func(data []byte) (func() error, error) {
			var got []T
			err := wire.Unmarshal(data, &got, MaxPart)
			return func() error { *l = append(*l, got...); return nil }, err
		},
	}
}

func encoded[T any](parts iter.Seq[[]T]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for p := range parts {
			if !yield(wire.Marshal(p)) {
				return
			}
		}
	}
}

// Hashes is a section of a list of hashes, of which there is one for each record.
// The list only ever grows.
func Hashes(name string, l *[]wire.Hash) Section {
	const size = len(wire.Hash{})
	return Section{
		Name: name,
		Capture: func() iter.Seq[[]byte] {
			have := slices.Clip(*l)
			return func(yield func([]byte) bool) {
				for some := range slices.Chunk(have, hashParts/size) {
					out := make([]byte, 0, hashParts)
					for i := range some {
						out = append(out, some[i][:]...)
					}
					if !yield(out) {
						return
					}
				}
			}
		},
		Parse: func(data []byte) (func() error, error) {
			if len(data)%size != 0 {
				return nil, fmt.Errorf("%w: half a hash", wire.ErrMalformed)
			}
			return func() error {
				for one := range slices.Chunk(data, size) {
					*l = append(*l, wire.Hash(one))
				}
				return nil
			}, nil
		},
	}
}

// pair is an element of a map.
type pair[K comparable, V any] struct {
	_     struct{} `cbor:",toarray"`
	Key   K
	Value V
}

// Map is a section of a map that is there, and whose values never change. In the
// file its elements stand in the order of their encoding.
func Map[M ~map[K]V, K comparable, V any](name string, m *M) Section {
	return Section{
		Name: name,
		Capture: func() iter.Seq[[]byte] {
			have := maps.Clone(*m)
			return func(yield func([]byte) bool) {
				for data := range encoded(slices.Chunk(sorted(have), perPart)) {
					if !yield(data) {
						return
					}
				}
			}
		},
		Parse: func(data []byte) (func() error, error) {
			var got []pair[K, V]
			err := wire.Unmarshal(data, &got, MaxPart)
			return func() error {
				for _, p := range got {
					if _, twice := (*m)[p.Key]; twice {
						return fmt.Errorf("%w: twice in %s", wire.ErrMalformed, name)
					}
					(*m)[p.Key] = p.Value
				}
				return nil
			}, err
		},
	}
}

func sorted[M ~map[K]V, K comparable, V any](m M) []pair[K, V] {
	type keyed struct {
		key  []byte
		pair pair[K, V]
	}
	all := make([]keyed, 0, len(m))
	for k, v := range m {
		all = append(all, keyed{wire.Marshal(k), pair[K, V]{Key: k, Value: v}})
	}
	slices.SortFunc(all, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	out := make([]pair[K, V], len(all))
	for i, k := range all {
		out[i] = k.pair
	}
	return out
}

// Packed is a section of what packs itself: bytes that are taken at once, split
// into parts, and read again without the rest.
func Packed[T any](name string, take func() (parts iter.Seq[[]byte]), parse func([]byte) (T, error), apply func(T) error) Section {
	return Section{
		Name:    name,
		Capture: take,
		Parse: func(data []byte) (func() error, error) {
			got, err := parse(data)
			return func() error { return apply(got) }, err
		},
	}
}

// One is a sequence of one value's encoding, for [Packed].
func One(v any) iter.Seq[[]byte] { return slices.Values([][]byte{wire.Marshal(v)}) }
