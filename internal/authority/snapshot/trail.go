// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"fmt"

	"claviger/internal/store"
	"claviger/internal/wire"
)

// Trail is a hash over the first records of a log, as the store holds them: zero
// before the first.
type Trail wire.Hash

// Next is the trail with one record more.
func (t Trail) Next(record []byte) Trail { return Trail(wire.Sum("trail", t[:], record)) }

// matches holds that the first n records of a store have the trail t, else
// ErrUnusable; any other error is the store's.
//
// Security: without it, a record that was changed or moved below a snapshot would
// pass (T-37).
func (t Trail) matches(ctx context.Context, log store.Log, n uint64) error {
	have, err := walk(ctx, log, n)
	if err == nil && have != t {
		err = fmt.Errorf("%w: a record in the store is not the one that it was made from", ErrUnusable)
	}
	return err
}

// walk returns the trail of the first n records of a store.
func walk(ctx context.Context, log store.Log, n uint64) (t Trail, err error) {
	last := uint64(0)
	for r, err := range log.Read(ctx, 1, false) {
		if err != nil {
			return t, fmt.Errorf("read the log: %w", err)
		}
		if r.Index != last+1 {
			break
		}
		t, last = t.Next(r.Data), r.Index
		if last == n {
			return t, nil
		}
	}
	return t, fmt.Errorf("%w: the store has %d of its %d records", ErrUnusable, last, n)
}
