// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"claviger/internal/store"
)

// history is a store that forgets nothing: the assumption about every store.
// It also counts steps for the crash tests and can be told to lose or change
// what it gives.
type history struct {
	store.Slots
	fuse *fuse
	late bool // the crashing Put lands, but the caller doesn't learn it

	mu     sync.Mutex
	ever   []store.Entry
	change func(key string, value []byte) ([]byte, error)
}

func newHistory(s store.Slots) *history { return &history{Slots: s} }

func (s *history) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := s.fuse.step(); err != nil {
		return nil, 0, err
	}
	value, version, err := s.Slots.Get(ctx, key)
	if err == nil && s.change != nil {
		value, err = s.change(key, value)
	}
	return value, version, err
}

func (s *history) Put(ctx context.Context, key string, old uint64, value []byte) error {
	crash := s.fuse.step()
	if crash != nil && !(s.late && s.fuse.first()) {
		return crash
	}
	if value != nil {
		s.mu.Lock()
		s.ever = append(s.ever, store.Entry{Key: key, Value: slices.Clone(value)})
		s.mu.Unlock()
	}
	return errors.Join(s.Slots.Put(ctx, key, old, value), crash)
}

func (s *history) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	if err := s.fuse.step(); err != nil {
		return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, err) }
	}
	return s.Slots.List(ctx, prefix)
}

// first reports, once, that the crash has just happened.
func (f *fuse) first() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.spent
	f.spent = true
	return !was
}

// reader forgets the crash and the changes, but nothing that was written.
func (s *history) reader() *history {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &history{Slots: s.Slots, ever: slices.Clone(s.ever)}
}
