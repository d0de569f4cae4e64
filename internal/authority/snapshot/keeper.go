// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"

	"claviger/internal/store"
)

const (
	saveEvery = 4096 // records after which a new snapshot is worth its time, or
	saveShare = 20   // the log's size divided by it, if that is more
)

// Keeper keeps the snapshot of one log up: it reads it at the start and writes it
// beside the work.
type Keeper struct {
	File   File
	Logger *slog.Logger

	at   atomic.Uint64 // position of the newest snapshot, or of one that is being written
	busy sync.Mutex    // held by who writes

	mu    sync.Mutex // the fields below
	ended bool
	group sync.WaitGroup
}

// Load reads the snapshot into sections and, at the same time, holds every record
// below it against what it was made from. Fits is asked last. False: there is none
// that can be used; one that is no good is taken away. A snapshot is never a reason
// to refuse anything: who gets none replays the log, and finds what is wrong there.
func (k *Keeper) Load(ctx context.Context, log store.Log, sections func(Header) []Section, fits func(Header) error) (Header, bool) {
	r, err := k.File.Open()
	if err == nil && r == nil {
		return Header{}, false
	}
	if err == nil {
		defer r.Close()
		err = load(ctx, log, r, sections(r.Header))
	}
	if err == nil {
		err = fits(r.Header)
	}
	if err == nil {
		k.at.Store(r.Header.Epoch.Position)
		return r.Header, true
	}
	k.Logger.Warn("Snapshot of the authority log not used; everything is replayed", "reason", err)
	if errors.Is(err, ErrUnusable) {
		if err := k.File.Remove(); err != nil {
			k.Logger.Warn("Snapshot of the authority log not removed", "error", err)
		}
	}
	return Header{}, false
}

func load(ctx context.Context, log store.Log, r *Reader, sections []Section) error {
	var below error
	var walk sync.WaitGroup
	walk.Go(func() { below = r.Header.Trail.matches(ctx, log, r.Header.Epoch.Position) })
	err := r.Load(sections)
	walk.Wait()
	return errors.Join(err, below)
}

// Later writes a snapshot in a goroutine of its own if enough was appended since
// the last one. Take gives what is to be written; it is called there.
func (k *Keeper) Later(position uint64, take func() (Header, iter.Seq[[]byte])) {
	last := k.at.Load()
	if position-last < max(saveEvery, position/saveShare) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ended && k.at.CompareAndSwap(last, position) {
		k.group.Go(func() { k.write(take) })
	}
}

// End waits for a snapshot that is being written. From then on only Save writes
// any: who ends may wipe the key.
func (k *Keeper) End() {
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	k.group.Wait()
}

// Save writes a snapshot, unless the newest one is of position.
func (k *Keeper) Save(position uint64, take func() (Header, iter.Seq[[]byte])) {
	if k.at.Load() != position {
		k.write(take)
	}
}

// write writes a snapshot. That it can't be written costs the next start its time,
// so it is said and no more.
func (k *Keeper) write(take func() (Header, iter.Seq[[]byte])) {
	k.busy.Lock()
	defer k.busy.Unlock()
	h, parts := take()
	if err := k.File.Write(h, parts); err != nil {
		k.Logger.Warn("Snapshot of the authority log not written", "error", err)
		return
	}
	k.at.Store(h.Epoch.Position)
	k.Logger.Debug("Snapshot of the authority log written", "record", h.Epoch.String())
}
