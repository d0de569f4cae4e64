// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
)

// mem is the Store of NewMem. Everything under mu; nothing is yielded while it
// is held, so that a loop's body may write.
type mem struct {
	mu       sync.Mutex
	closed   bool
	records  [][]byte
	slots    map[string]Entry
	sequence uint64 // the newest slot version given out
	changed  Notifier
}

// NewMem returns an empty store in memory, for tests and demos: "durable" here
// means as long as the process lives. Servers in one process share a log by
// sharing the Store.
func NewMem() Store {
	return &mem{slots: make(map[string]Entry)}
}

// ready is called with mu held, at the start of every operation.
func (m *mem) ready(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

func (m *mem) Append(ctx context.Context, after uint64, record []byte) error {
	if err := CheckRecord(record); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	if after != uint64(len(m.records)) {
		return ErrConflict
	}
	m.records = append(m.records, bytes.Clone(record))
	m.changed.Wake()
	return nil
}

func (m *mem) Read(ctx context.Context, from uint64, follow bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := CheckFrom(from); err != nil {
			yield(Record{}, err)
			return
		}
		for index := from; ; {
			changed := m.changed.Changed()
			record, ok, err := m.record(ctx, index)
			if err == nil && !ok {
				if !follow {
					return
				}
				err = Wait(ctx, changed)
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !ok {
				continue
			}
			if !yield(record, nil) {
				return
			}
			index++
		}
	}
}

func (m *mem) record(ctx context.Context, index uint64) (record Record, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return Record{}, false, err
	}
	if index > uint64(len(m.records)) {
		return Record{}, false, nil
	}
	return Record{Index: index, Data: bytes.Clone(m.records[index-1])}, true, nil
}

func (m *mem) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := CheckKey(key); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, 0, err
	}
	entry, ok := m.slots[key]
	if !ok {
		return nil, 0, ErrNotFound
	}
	return bytes.Clone(entry.Value), entry.Version, nil
}

func (m *mem) Put(ctx context.Context, key string, oldVersion uint64, value []byte) error {
	if err := CheckPut(key, oldVersion, value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	if m.slots[key].Version != oldVersion {
		return ErrConflict
	}
	if value == nil {
		delete(m.slots, key)
		return nil
	}
	m.sequence++
	m.slots[key] = Entry{Key: key, Value: bytes.Clone(value), Version: m.sequence}
	return nil
}

func (m *mem) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		keys, err := m.keys(ctx, prefix)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, key := range keys {
			value, version, err := m.Get(ctx, key)
			if err == ErrNotFound {
				continue // deleted since the keys were collected
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(Entry{Key: key, Value: value, Version: version}, nil) {
				return
			}
		}
	}
}

func (m *mem) keys(ctx context.Context, prefix string) ([]string, error) {
	if err := CheckPrefix(prefix); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	var keys []string
	for key := range m.slots {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (m *mem) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.changed.Close()
	return nil
}
