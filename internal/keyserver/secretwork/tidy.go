// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/authority/secretring"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// tidy removes the slots of a name whose revision has been given out to another, or
// is over, once no backup needs them. What fails here is done by the next change or
// the next start.
func (w *Worker) tidy(ctx context.Context, now authority.SecretWritten) {
	w.mu.Lock()
	holds := w.holds
	if holds > 0 {
		w.held[now.Name] = now
	}
	w.mu.Unlock()
	if holds == 0 {
		w.tidyNow(ctx, now)
	}
}

func (w *Worker) tidyNow(ctx context.Context, now authority.SecretWritten) {
	keep := slot(now.Name, now.Revision, now.Slot)
	w.remove(ctx, prefix(now.Name), func(key string, revision uint64) bool { return key != keep && revision <= now.Revision })
}

// remove deletes slots, if nobody else does.
func (w *Worker) remove(ctx context.Context, prefix string, useless func(key string, revision uint64) bool) {
	var old []store.Entry
	for e, err := range w.o.Slots.List(ctx, prefix) {
		if err != nil {
			break
		}
		if useless(e.Key, revisionOf(e.Key)) {
			old = append(old, store.Entry{Key: e.Key, Version: e.Version})
		}
	}
	for _, e := range old {
		if w.o.Slots.Put(ctx, e.Key, e.Version, nil) != nil {
			return
		}
	}
}

// revisionOf is the revision in a slot's key, the highest if there is none: then
// nobody removes it.
func revisionOf(key string) uint64 {
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, "secret/"), "/")
	digits, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return ^uint64(0)
	}
	return n
}

// Hold keeps slots that a change makes useless until it is released: a backup reads
// the log first and the slots after it, and what it read of the one it has to find
// among the others.
func (w *Worker) Hold() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds++
	return func() {
		w.mu.Lock()
		w.holds--
		var held map[string]authority.SecretWritten
		if w.holds == 0 {
			held, w.held = w.held, map[string]authority.SecretWritten{}
		}
		w.mu.Unlock()
		for _, now := range held {
			w.tidyNow(context.Background(), now)
		}
	}
}

// Sweep removes what crashes left: slots of revisions that no record can name any
// more. It reads all slots of secrets, and is for the start of a server. While a
// backup is made it does nothing; one that begins meanwhile reads a log that no
// longer names what is removed here.
func (w *Worker) Sweep(ctx context.Context) {
	current := map[wire.Hash]authority.SecretWritten{}
	var floor uint64
	w.o.Ledger.View(func(s *authority.State) {
		floor = s.Secrets().Floor
		for _, row := range s.Secrets().Rows() {
			current[secretring.Hash(row.Name)] = row.Written
		}
	})
	w.mu.Lock()
	holds := w.holds
	w.mu.Unlock()
	if holds > 0 {
		return
	}
	w.remove(ctx, "secret/", func(key string, revision uint64) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(key, "secret/"), "/")
		raw, err := hex.DecodeString(name)
		if err != nil || len(raw) != len(wire.Hash{}) {
			return false
		}
		row, ok := current[wire.Hash(raw)]
		if !ok {
			return revision <= floor
		}
		return revision <= row.Revision && key != slot(row.Name, row.Revision, row.Slot)
	})
}
