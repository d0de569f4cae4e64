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

// batchBytes is what Read and List copy in one transaction before they yield:
// few transactions, bounded memory.
const batchBytes = 256 << 10

// Append implements store.Log.
func (s *Store) Append(ctx context.Context, after uint64, record []byte) error {
	if err := store.CheckRecord(record); err != nil {
		return err
	}
	err := s.update(ctx, func(tx *bolt.Tx) error {
		log := tx.Bucket(logBucket())
		head, err := headOf(log)
		if err != nil {
			return err
		}
		if head != after {
			return store.ErrConflict
		}
		log.FillPercent = 1 // keys only grow: leave no room in the pages behind
		return log.Put(indexKey(after+1), record)
	})
	if err == nil {
		s.changed.Wake()
	}
	return err
}

func headOf(log *bolt.Bucket) (uint64, error) {
	last, _ := log.Cursor().Last()
	if last == nil {
		return 0, nil
	}
	return parseIndex(last)
}

func parseIndex(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("%w: log key of %d bytes", ErrCorrupt, len(key))
	}
	return binary.BigEndian.Uint64(key), nil
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
			batch, err := s.records(ctx, next)
			for _, record := range batch {
				if !yield(record, nil) {
					return
				}
				next++
			}
			if err == nil && len(batch) == 0 {
				if !follow {
					return
				}
				err = store.Wait(ctx, changed)
			}
			if err != nil {
				yield(store.Record{}, err)
				return
			}
		}
	}
}

// records copies the next records from index from on; none means that the head
// lies before it. What was read before an error is returned with it.
func (s *Store) records(ctx context.Context, from uint64) (batch []store.Record, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		size := 0
		log := tx.Bucket(logBucket()).Cursor()
		for key, data := log.Seek(indexKey(from)); key != nil && size < batchBytes; key, data = log.Next() {
			index, err := parseIndex(key)
			if err != nil {
				return err
			}
			if index != from+uint64(len(batch)) {
				return fmt.Errorf("%w: log has no record %d", ErrCorrupt, from+uint64(len(batch)))
			}
			if len(data) == 0 || len(data) > store.MaxRecord {
				return fmt.Errorf("%w: log record %d has %d bytes", ErrCorrupt, index, len(data))
			}
			batch = append(batch, store.Record{Index: index, Data: bytes.Clone(data)})
			size += len(data)
		}
		return nil
	})
	return batch, err
}
