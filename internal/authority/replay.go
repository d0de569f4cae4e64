// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"claviger/internal/store"
	"claviger/internal/wire"
)

// catchUp folds what the store holds beyond the state. It starts with the newest
// record that is known: a store that went back, or shows another history, is
// found out while the server runs. l.writing is held, or l is not shared yet.
func (l *Log) catchUp(ctx context.Context) error {
	err := l.readOn(ctx)
	if err != nil && errors.Is(err, ErrLog) {
		return l.fail(err)
	}
	return err
}

func (l *Log) readOn(ctx context.Context) error {
	var batch []*wire.Opened
	from, known, size := uint64(1), l.state == nil, 0
	if l.state != nil {
		from = l.state.Epoch.Position
	}
	for rec, err := range l.o.Store.Read(ctx, from, false) {
		if err != nil {
			return errors.Join(l.fold(batch), fmt.Errorf("read the log: %w", err))
		}
		opened, err := l.open(rec)
		if err == nil && !known {
			if known = true; opened.Link.Hash() == l.state.Head {
				continue
			}
			err = fmt.Errorf("%w: the store holds another record %d than before", ErrLog, rec.Index)
		}
		if err == nil {
			err = l.notAhead(opened.Link)
		}
		if err != nil {
			return errors.Join(l.fold(batch), err)
		}
		batch = append(batch, opened)
		if size += len(rec.Data); size >= batchSize {
			if err := l.fold(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
	}
	if !known {
		return fmt.Errorf("%w: the store went back: record %d is gone", ErrLog, from)
	}
	return l.fold(batch)
}

func (l *Log) notAhead(link wire.Link) error {
	if ahead := time.UnixMilli(link.Time).Sub(l.o.Clock.Now()); ahead > maxAhead {
		return fmt.Errorf("%w: record %d is %s ahead of this machine's clock; set the clock right", ErrAhead, link.Epoch.Position, ahead.Round(time.Second))
	}
	return nil
}

// fold takes records into the state, all before anybody sees it, and notes them
// in the head file.
func (l *Log) fold(batch []*wire.Opened) error {
	if len(batch) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range batch {
		if err := l.take(o); err != nil {
			return err
		}
	}
	if !l.ready {
		return nil
	}
	return l.acted()
}

func (l *Log) take(o *wire.Opened) error {
	if l.state != nil {
		return l.state.Fold(o.Link, o.Entry, l.o.Namer)
	}
	state, err := Found(o.Link, o.Entry)
	if err != nil {
		return err
	}
	if state.Members.Domain != l.o.Domain {
		return fmt.Errorf("%w: it is the log of another installation", ErrLog)
	}
	l.state = state
	return nil
}

// open unseals a record. Its AAD is the whole link, so a record that was moved or
// changed in any byte does not open.
func (l *Log) open(rec store.Record) (*wire.Opened, error) {
	r, err := wire.ParseRecord(rec.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: record %d was changed: %w", ErrLog, rec.Index, err)
	}
	if r.Link.Epoch.Position != rec.Index {
		return nil, fmt.Errorf("%w: record %d stands where record %d belongs", ErrLog, r.Link.Epoch.Position, rec.Index)
	}
	entry, err := l.bodies.Open(r.Sealed, wire.Marshal(r.Link))
	if err != nil {
		return nil, fmt.Errorf("%w: record %d: %w", ErrLog, rec.Index, err)
	}
	return &wire.Opened{Link: r.Link, Entry: entry}, nil
}

// Records returns up to limit records from a position on, opened: what admins
// replay on their own machines.
func (l *Log) Records(ctx context.Context, from uint64, limit int) ([]wire.Opened, error) {
	var out []wire.Opened
	for rec, err := range l.o.Store.Read(ctx, max(from, 1), false) {
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		opened, err := l.open(rec)
		if err != nil {
			return nil, err
		}
		if out = append(out, *opened); len(out) >= limit {
			break
		}
	}
	return out, nil
}
