// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"claviger/internal/authority/ahead"
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
	var batch []*ahead.Record
	from, known, size := uint64(1), l.state == nil, 0
	if l.state != nil {
		from = l.state.Epoch.Position
	}
	for r, err := range ahead.Map(l.o.Store.Read(ctx, from, false), l.prepare) {
		if err != nil && !errors.Is(err, ErrLog) {
			err = fmt.Errorf("read the log: %w", err)
		}
		if err == nil && !known {
			if known = true; r.Link.Hash() == l.state.Head {
				continue
			}
			err = fmt.Errorf("%w: the store holds another record %d than before", ErrLog, from)
		}
		if err == nil {
			err = l.notAhead(r.Link)
		}
		if err != nil {
			return errors.Join(l.fold(batch), err)
		}
		batch = append(batch, r)
		// The genesis alone: the keys that it names are those of what follows.
		if size += len(r.Entry); size >= batchSize || l.state == nil {
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

// prepare opens a record and does what can be done with it before its turn. It
// runs on several goroutines, and so must not touch the state.
func (l *Log) prepare(rec store.Record) (*ahead.Record, error) {
	opened, err := l.open(rec)
	if err != nil {
		return nil, err
	}
	r := ahead.Parse(opened.Link, opened.Entry)
	r.Stored = rec.Data
	if keys := l.keys.Load(); keys != nil {
		r.Verify(*keys)
	}
	return r, nil
}

func (l *Log) notAhead(link wire.Link) error {
	if ahead := time.UnixMilli(link.Time).Sub(l.o.Clock.Now()); ahead > maxAhead {
		return fmt.Errorf("%w: record %d is %s ahead of this machine's clock; set the clock right", ErrAhead, link.Epoch.Position, ahead.Round(time.Second))
	}
	return nil
}

// fold takes records into the state, all before anybody sees it, and notes them
// in the head file.
func (l *Log) fold(batch []*ahead.Record) error {
	if len(batch) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range batch {
		if err := l.take(r); err != nil {
			return err
		}
		l.trail = l.trail.Next(r.Stored)
	}
	keys := ahead.KeysOf(l.state.Members)
	l.keys.Store(&keys)
	if !l.ready {
		return nil
	}
	return l.acted()
}

func (l *Log) take(r *ahead.Record) error {
	if l.state != nil {
		return l.state.FoldParsed(r, l.o.Namer)
	}
	state, err := Found(r.Link, r.Entry)
	if err != nil {
		return err
	}
	if state.Members.Domain != l.o.Domain {
		return fmt.Errorf("%w: it is the log of another installation", ErrLog)
	}
	l.state = state
	return nil
}

func (l *Log) open(rec store.Record) (*wire.Opened, error) {
	opened, err := l.bodies.OpenRecord(rec.Index, rec.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	return opened, nil
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
