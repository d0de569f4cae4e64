// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"context"
	"crypto"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Ledger signs bodies as one server and appends them to the authority log. What
// a server may sign alone is the log's rule (authority.Table), not this type's.
type Ledger struct {
	log    *authority.Log
	signer crypto.Signer
	clock  clock.Clock
}

// NewLedger returns a ledger of the server with this signing key.
func NewLedger(log *authority.Log, signer crypto.Signer, c clock.Clock) *Ledger {
	return &Ledger{log, signer, c}
}

// View calls f with the present state, which changes when f has returned.
func (l *Ledger) View(f func(*authority.State)) { l.log.View(f) }

// Append signs a body as this server and appends it, again if the state moved
// meanwhile.
func (l *Ledger) Append(ctx context.Context, kind string, payload any) error {
	return l.AppendIf(ctx, kind, payload, func(*authority.State) error { return nil })
}

// Anchor fixes a checkpoint of a server's audit log, if it grew.
func (l *Ledger) Anchor(ctx context.Context, server wire.ServerID, c wire.Checkpoint) error {
	var have wire.Checkpoint
	l.log.View(func(s *authority.State) { have, _ = s.Anchor(server) })
	if c == have || c.Size == 0 {
		return nil
	}
	return l.Append(ctx, authority.KindAnchor, authority.Anchor{Server: server, Checkpoint: c})
}

const (
	maxPage  = 4 << 20 // bytes of records in one page
	maxBatch = 512     // records in one page
)

// Page reads opened records from a position on, as many as one answer holds.
func (l *Ledger) Page(ctx context.Context, from uint64) ([]wire.Opened, error) {
	records, err := l.log.Records(ctx, from, maxBatch)
	if err != nil {
		return nil, err
	}
	size := 0
	for i, r := range records {
		if size += len(r.Entry) + 256; size > maxPage && i > 0 {
			return records[:i], nil
		}
	}
	return records, nil
}

// AppendIf is Append that asks holds of the state that the body is signed on.
func (l *Ledger) AppendIf(ctx context.Context, kind string, payload any, holds func(*authority.State) error) error {
	const tries = 8
	var err error
	for range tries {
		var entry []byte
		var before wire.Epoch
		l.log.View(func(s *authority.State) {
			before = s.Epoch
			if err = holds(s); err == nil {
				entry, err = s.Entry(kind, payload, l.clock.Now().Add(time.Hour), l.signer)
			}
		})
		if err != nil {
			return err
		}
		if _, err = l.log.Append(ctx, entry); err == nil || l.epoch() == before {
			return err
		}
	}
	return err
}

func (l *Ledger) epoch() (e wire.Epoch) {
	l.log.View(func(s *authority.State) { e = s.Epoch })
	return e
}
