// SPDX-License-Identifier: Apache-2.0

package membus

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"claviger/internal/relay"
)

// record is one of the table, and the boot time at which it goes.
type record struct {
	relay.Record
	until time.Duration
}

// Put writes a record over the revision that it names.
func (b *Bus) Put(_ context.Context, r relay.Record, life time.Duration) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	if b.records[r.Key].Revision != r.Revision { // 0 where there is none
		return 0, relay.ErrConflict
	}
	if _, there := b.records[r.Key]; !there && len(b.records) >= maxRecords {
		return 0, relay.ErrQuota
	}
	b.revision++
	r.Revision, r.Value = b.revision, bytes.Clone(r.Value)
	b.records[r.Key] = record{r, b.clock.Boot() + min(max(life, 0), maxLife)}
	close(b.changed)
	b.changed = make(chan struct{})
	return r.Revision, nil
}

// expire forgets what has ended.
func (b *Bus) expire() {
	now := b.clock.Boot()
	for key, r := range b.records {
		if r.until <= now {
			delete(b.records, key)
		}
	}
}

// Get returns the newest record of a key.
func (b *Bus) Get(_ context.Context, key string) (relay.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	r, ok := b.records[key]
	if !ok {
		return relay.Record{}, relay.ErrNotFound
	}
	return r.copy(), nil
}

func (r record) copy() relay.Record {
	out := r.Record
	out.Value = bytes.Clone(out.Value)
	return out
}

// Watch tells what is there before it returns, and each change until ctx ends. Of
// several quick changes of one record the newest is told.
func (b *Bus) Watch(ctx context.Context, each func(relay.Record)) error {
	list, changed, seen := b.since(0)
	for _, r := range list {
		each(r)
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			list, changed, seen = b.since(seen)
			for _, r := range list {
				each(r)
			}
		}
	}()
	return nil
}

// since lists the records above a revision in the order of their changes.
func (b *Bus) since(seen uint64) (list []relay.Record, changed <-chan struct{}, newest uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	for _, r := range b.records {
		if r.Revision > seen {
			list = append(list, r.copy())
		}
	}
	slices.SortFunc(list, func(x, y relay.Record) int { return cmp.Compare(x.Revision, y.Revision) })
	return list, b.changed, b.revision
}
