// SPDX-License-Identifier: Apache-2.0

package bbolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"

	bolt "go.etcd.io/bbolt"

	"claviger/internal/store"
)

// Get implements store.Slots.
func (s *Store) Get(ctx context.Context, key string) (value []byte, version uint64, err error) {
	if err := store.CheckKey(key); err != nil {
		return nil, 0, err
	}
	err = s.view(ctx, func(tx *bolt.Tx) error {
		stored := tx.Bucket(slotsBucket()).Get([]byte(key))
		if stored == nil {
			return store.ErrNotFound
		}
		live, at, err := parseSlot(stored)
		value, version = bytes.Clone(live), at
		return err
	})
	return value, version, err
}

// parseSlot splits what the bucket holds; value points into it.
func parseSlot(stored []byte) (value []byte, version uint64, err error) {
	if len(stored) <= 8 || len(stored) > 8+store.MaxValue {
		return nil, 0, fmt.Errorf("%w: slot of %d bytes", ErrCorrupt, len(stored))
	}
	return stored[8:], binary.BigEndian.Uint64(stored), nil
}

// Put implements store.Slots.
func (s *Store) Put(ctx context.Context, key string, oldVersion uint64, value []byte) error {
	if err := store.CheckPut(key, oldVersion, value); err != nil {
		return err
	}
	return s.update(ctx, func(tx *bolt.Tx) error {
		slots := tx.Bucket(slotsBucket())
		var version uint64
		if stored := slots.Get([]byte(key)); stored != nil {
			var err error
			if _, version, err = parseSlot(stored); err != nil {
				return err
			}
		}
		if version != oldVersion {
			return store.ErrConflict
		}
		if value == nil {
			return slots.Delete([]byte(key))
		}
		next, err := slots.NextSequence()
		if err != nil {
			return err
		}
		return slots.Put([]byte(key), append(binary.BigEndian.AppendUint64(nil, next), value...))
	})
}

// List implements store.Slots.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if err := store.CheckPrefix(prefix); err != nil {
			yield(store.Entry{}, err)
			return
		}
		for next := prefix; ; {
			batch, err := s.entries(ctx, prefix, next)
			for _, entry := range batch {
				if !yield(entry, nil) {
					return
				}
				next = entry.Key + "\x00" // the first string after this key
			}
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			if len(batch) == 0 {
				return
			}
		}
	}
}

// entries copies the next slots under prefix whose key is next or after it.
func (s *Store) entries(ctx context.Context, prefix, next string) (batch []store.Entry, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		size := 0
		slots := tx.Bucket(slotsBucket()).Cursor()
		for key, stored := slots.Seek([]byte(next)); bytes.HasPrefix(key, []byte(prefix)) && key != nil && size < batchBytes; key, stored = slots.Next() {
			value, version, err := parseSlot(stored)
			if err != nil {
				return err
			}
			batch = append(batch, store.Entry{Key: string(key), Value: bytes.Clone(value), Version: version})
			size += len(stored)
		}
		return nil
	})
	return batch, err
}
