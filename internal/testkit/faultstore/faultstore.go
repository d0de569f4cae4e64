// SPDX-License-Identifier: Apache-2.0

// Package faultstore makes a store misbehave, for tests of what stands above
// it. [New] wraps any store and behaves like it until a test calls a fault:
//
//   - of the log: [Store.Rollback], [Store.Drop], [Store.Swap], [Store.Flip],
//     [Store.Truncate] change what readers see; the records below stay. What is
//     appended afterwards follows on the changed log, as on a forked store.
//   - of slots: [Store.Revive] puts back the value before, [Store.Hide],
//     [Store.FlipSlot], [Store.TruncateSlot]. The next Put of the slot ends it.
//   - of both: [Store.Freeze] shows nothing new, though writes are confirmed;
//     [Store.Lose] confirms writes and forgets them; [Store.Fail] returns an
//     error, whether or not the write landed.
//
// [Store.Heal] ends all of it and shows the store below as it is.
//
// It reads the whole log at each step: it is for short logs.
package faultstore

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"claviger/internal/store"
)

// Store wraps a store and shows it with the faults that were called.
type Store struct {
	inner   store.Store
	changed store.Notifier // woken by faults that change what followers see

	mu     sync.Mutex
	base   [][]byte // what readers see instead of the records 1…from below
	from   uint64
	frozen bool
	held   []store.Entry // the slots while frozen
	slots  map[string]slotFault
	before map[string][]byte // each slot's value before its last Put here
	lose   int
	fail   error
	landed bool
}

var _ store.Store = (*Store)(nil)

// slotFault changes what readers see of a slot; false hides it.
type slotFault func(value []byte) ([]byte, bool)

// New returns inner, not misbehaving yet. Closing it closes inner.
func New(inner store.Store) *Store {
	return &Store{inner: inner, slots: make(map[string]slotFault), before: make(map[string][]byte)}
}

// edit replaces what readers see of the log by what change makes of it.
func (s *Store) edit(ctx context.Context, change func(log [][]byte) [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, head, err := s.view(ctx)
	if err != nil {
		return err
	}
	s.base, s.from = change(log), head
	s.changed.Wake()
	return nil
}

// view returns the log as readers see it, and the head of the store below.
// s.mu is held.
func (s *Store) view(ctx context.Context) (log [][]byte, head uint64, err error) {
	log, head = slices.Clone(s.base), s.from
	for record, err := range s.inner.Read(ctx, s.from+1, false) {
		if err != nil {
			return nil, 0, err
		}
		head = record.Index
		if !s.frozen {
			log = append(log, record.Data)
		}
	}
	return log, head, nil
}

// Rollback makes the log end at head, as a backup put back would.
func (s *Store) Rollback(ctx context.Context, head uint64) error {
	return s.edit(ctx, func(log [][]byte) [][]byte { return log[:head] })
}

// Drop leaves out the record at index; later ones move up.
func (s *Store) Drop(ctx context.Context, index uint64) error {
	return s.edit(ctx, func(log [][]byte) [][]byte { return slices.Delete(log, int(index-1), int(index)) })
}

// Swap exchanges two records.
func (s *Store) Swap(ctx context.Context, i, j uint64) error {
	return s.edit(ctx, func(log [][]byte) [][]byte {
		log[i-1], log[j-1] = log[j-1], log[i-1]
		return log
	})
}

// Flip inverts one bit of the record at index, counted from its first byte's
// lowest.
func (s *Store) Flip(ctx context.Context, index uint64, bit int) error {
	return s.edit(ctx, func(log [][]byte) [][]byte {
		log[index-1] = flipped(log[index-1], bit)
		return log
	})
}

// Truncate cuts the record at index to size bytes.
func (s *Store) Truncate(ctx context.Context, index uint64, size int) error {
	return s.edit(ctx, func(log [][]byte) [][]byte {
		log[index-1] = log[index-1][:size]
		return log
	})
}

// Freeze keeps showing the store as it is now. Writes go on below and are
// confirmed; readers don't see them until Heal.
func (s *Store) Freeze(ctx context.Context) error {
	entries, err := s.entries(ctx, "")
	if err != nil {
		return err
	}
	if err := s.edit(ctx, func(log [][]byte) [][]byte { return log }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen, s.held = true, entries
	return nil
}

// Lose confirms the next n writes and forgets them.
func (s *Store) Lose(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

// Fail makes the next write return err: after it landed, or without it.
func (s *Store) Fail(err error, landed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.landed = err, landed
}

// Revive shows the value that the slot had before its last Put through s, and
// nothing if it had none; under the version of now, so that a Put still passes.
func (s *Store) Revive(key string) {
	s.fault(key, func([]byte) ([]byte, bool) {
		value, ok := s.before[key]
		return bytes.Clone(value), ok && value != nil
	})
}

// Hide shows no slot at key.
func (s *Store) Hide(key string) {
	s.fault(key, func([]byte) ([]byte, bool) { return nil, false })
}

// FlipSlot inverts one bit of the slot's value, counted as in Flip.
func (s *Store) FlipSlot(key string, bit int) {
	s.fault(key, func(value []byte) ([]byte, bool) { return flipped(value, bit), true })
}

// TruncateSlot cuts the slot's value to size bytes.
func (s *Store) TruncateSlot(key string, size int) {
	s.fault(key, func(value []byte) ([]byte, bool) { return value[:size], true })
}

func (s *Store) fault(key string, fault slotFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[key] = fault
}

// Heal ends all faults.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.from, s.frozen, s.held = nil, 0, false, nil
	s.lose, s.fail = 0, nil
	clear(s.slots)
	s.changed.Wake()
}

func flipped(data []byte, bit int) []byte {
	data = bytes.Clone(data)
	data[bit/8] ^= 1 << (bit % 8)
	return data
}

// write runs one write, or what the faults make of it. s.mu is held.
func (s *Store) write(do func() error) error {
	if s.fail != nil {
		err := s.fail
		s.fail = nil
		if s.landed {
			return errors.Join(do(), err)
		}
		return err
	}
	if s.lose > 0 {
		s.lose--
		return nil
	}
	return do()
}

// Append implements store.Log. The index counts what readers see.
func (s *Store) Append(ctx context.Context, after uint64, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(func() error {
		base := uint64(len(s.base))
		if s.from != 0 && after < base {
			return store.ErrConflict
		}
		return s.inner.Append(ctx, after-base+s.from, record)
	})
}

// Read implements store.Log.
func (s *Store) Read(ctx context.Context, from uint64, follow bool) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if err := store.CheckFrom(from); err != nil {
			yield(store.Record{}, err)
			return
		}
		for next := from; ; {
			changed := s.changed.Changed()
			record, head, err := s.record(ctx, next)
			if err == nil && record.Index == 0 {
				if !follow {
					return
				}
				err = s.wait(ctx, changed, head)
			}
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			if record.Index == 0 {
				continue
			}
			if !yield(record, nil) {
				return
			}
			next++
		}
	}
}

// record returns the record at index, or one with index 0 past the end.
func (s *Store) record(ctx context.Context, index uint64) (record store.Record, head uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, head, err := s.view(ctx)
	if err != nil || index > uint64(len(log)) {
		return store.Record{}, head, err
	}
	return store.Record{Index: index, Data: bytes.Clone(log[index-1])}, head, nil
}

// wait returns when a fault was called or the store below went past head.
func (s *Store) wait(ctx context.Context, changed <-chan struct{}, head uint64) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		store.Wait(inner, changed) // ends with the wait below at the latest
		cancel()
	}()
	for _, err := range s.inner.Read(inner, head+1, true) {
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.Canceled)) {
			return err
		}
		break
	}
	return nil
}

// Get implements store.Slots.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, 0, err
	}
	entries, err := s.entries(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if len(entries) == 0 || entries[0].Key != key {
		return nil, 0, store.ErrNotFound
	}
	return entries[0].Value, entries[0].Version, nil
}

// Put implements store.Slots.
func (s *Store) Put(ctx context.Context, key string, oldVersion uint64, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(func() error {
		old, _, err := s.inner.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := s.inner.Put(ctx, key, oldVersion, value); err != nil {
			return err
		}
		s.before[key] = old
		delete(s.slots, key)
		return nil
	})
}

// List implements store.Slots.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		entries, err := s.entries(ctx, prefix)
		if err != nil {
			yield(store.Entry{}, err)
			return
		}
		for _, entry := range entries {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// entries returns the slots under prefix as readers see them.
func (s *Store) entries(ctx context.Context, prefix string) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var seen []store.Entry
	for entry, err := range s.inner.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		seen = append(seen, entry)
	}
	if s.frozen {
		seen = nil
		for _, entry := range s.held {
			if len(entry.Key) >= len(prefix) && entry.Key[:len(prefix)] == prefix {
				entry.Value = bytes.Clone(entry.Value)
				seen = append(seen, entry)
			}
		}
	}
	var shown []store.Entry
	for _, entry := range seen {
		ok := true
		if fault := s.slots[entry.Key]; fault != nil {
			entry.Value, ok = fault(entry.Value)
		}
		if ok {
			shown = append(shown, entry)
		}
	}
	return shown, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.changed.Close()
	return s.inner.Close()
}
