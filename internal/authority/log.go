// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/authority/ahead"
	"claviger/internal/authority/atrest"
	"claviger/internal/authority/snapshot"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// ErrLog means that the log can't be believed: a record was changed, is missing,
// out of order or foreign, or the store went back behind what this server has
// acted on. The text says which.
var ErrLog = errors.New("authority log refused")

// ErrAhead means that a record's time lies too far ahead of this machine's
// clock. The record is held back, and taken once the clock has come near it.
var ErrAhead = errors.New("the clock is behind the authority log")

const (
	maxAhead   = 30 * time.Second // how far a record may lie ahead of a server's clock
	aheadPause = time.Second      // between two tries to take a record that does
	maxRetries = 64               // how often Append runs after a moving head
	batchSize  = 4 << 20          // bytes of records that are opened before they are folded
	largeLog   = 10_000           // records whose reading leaves memory worth giving back
)

// Options of a Log. All but Server, Signer, HeadPath, Namer, Accept, Fresh and
// Logger are required.
type Options struct {
	Store     store.Store
	Domain    wire.DomainID // the pin
	BodySeal  *secret.Bytes // root-derived, 32 bytes: seals bodies
	SlotSeal  *secret.Bytes // root-derived: seals pending bodies
	LocalSeal *secret.Bytes // root-derived: seals the head file and the snapshot
	HeadPath  string        // head file, and with ".snapshot" the snapshot; "" keeps none (tests and tools that only read)
	Server    wire.ServerID // who appends
	Signer    crypto.Signer // the server's signing key
	Clock     clock.Clock
	Namer     RevocationNamer // client → revocation id
	Accept    []byte          // a quorum-signed AcceptRollback, if people decided so
	Fresh     bool            // set by init: no head file is expected yet
	Logger    *slog.Logger    // nil: none
}

// Log is the authority log of one domain, replayed and verified. It is safe for
// concurrent use. The store is never waited for while readers are kept out, so
// that a server which is cut off from it goes on serving.
type Log struct {
	o       Options
	bodies  atrest.Box
	pending atrest.Box
	head    atrest.File
	keeper  snapshot.Keeper

	keys atomic.Pointer[ahead.Keys] // of the newest members: whose signatures can be verified ahead

	writing sync.Mutex // who changes the state: one at a time, store and all
	ready   bool       // Open and Create are done, so the head file follows the state

	mu      sync.RWMutex // the fields below; only a holder of writing changes them
	state   *State
	trail   snapshot.Trail // of the records up to the state's
	changed chan struct{}
	broken  error
}

// Create writes the genesis as the first record of an empty store.
func Create(ctx context.Context, o Options, genesis []byte) (*Log, error) {
	l := newLog(o)
	link := wire.Link{
		Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: 1, Position: 1}, Time: o.Clock.Now().UnixMilli(),
		Server: o.Server, Content: wire.EntryHash(genesis),
	}
	state, err := Found(link, genesis)
	if err != nil {
		return nil, err
	}
	if state.Members.Domain != o.Domain {
		return nil, fmt.Errorf("%w: the genesis is another domain's", ErrLog)
	}
	record := l.bodies.SealRecord(link, genesis)
	l.state, l.trail = state, l.trail.Next(record)
	if err := o.Store.Append(ctx, 0, record); err != nil {
		return nil, fmt.Errorf("write genesis: %w", err)
	}
	l.ready = true
	return l, l.remember()
}

// Open replays and verifies the whole log and returns it, or says what is wrong
// with it. What this server verified before, and the store still holds byte for
// byte, comes from its snapshot.
func Open(ctx context.Context, o Options) (*Log, error) {
	l := newLog(o)
	l.restore(ctx)
	if err := l.catchUp(ctx); err != nil {
		return nil, err
	}
	if l.state == nil {
		return nil, fmt.Errorf("%w: the store is empty", ErrLog)
	}
	if err := l.extendsHead(); err != nil {
		return nil, err
	}
	l.ready = true
	if err := l.remember(); err != nil {
		return l, err
	}
	l.saveLater()
	if l.state.Epoch.Position >= largeLog {
		debug.FreeOSMemory() // reading took several times what the state takes
	}
	return l, nil
}

func newLog(o Options) *Log {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Log{
		o:       o,
		bodies:  atrest.Box{Key: o.BodySeal, Domain: o.Domain, Label: "record"},
		pending: atrest.Box{Key: o.SlotSeal, Domain: o.Domain, Label: "pending"},
		head:    atrest.File{Path: o.HeadPath, Box: atrest.Box{Key: o.LocalSeal, Domain: o.Domain, Label: "head"}},
		keeper: snapshot.Keeper{Logger: o.Logger, File: snapshot.File{
			Path: o.HeadPath + ".snapshot", Server: o.Server, Box: atrest.Box{Key: o.LocalSeal, Domain: o.Domain, Label: "snapshot"},
		}},
		changed: make(chan struct{}),
	}
}

// View calls f with the state, which must not be kept.
func (l *Log) View(f func(*State)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	f(l.state)
}

// Changed returns a channel that is closed at the next change.
func (l *Log) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// Err says why the log can't be used any more, nil while it can. What View shows
// from then on is the state before.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.broken
}

// fail closes the log for good.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	return err
}

// Append checks an entry against the present state and appends it. It is durable,
// and the head file knows it, when Append returns. ErrRefused or
// members.ErrThreshold: it would have been void, so it was not written. Any
// other error leaves open whether it was.
func (l *Log) Append(ctx context.Context, entry []byte) (wire.Epoch, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	for range maxRetries {
		if err := l.Err(); err != nil {
			return wire.Epoch{}, err
		}
		epoch, err := l.append(ctx, entry)
		conflict, behind := errors.Is(err, store.ErrConflict), errors.Is(err, errBase)
		if !conflict && !behind {
			return epoch, err
		}
		before := l.state.Epoch
		if err := l.catchUp(ctx); err != nil {
			return wire.Epoch{}, err
		}
		if l.state.Epoch != before {
			continue
		}
		if behind {
			return wire.Epoch{}, err
		}
		return wire.Epoch{}, fmt.Errorf("%w: the store takes nothing after record %d and shows nothing after it", ErrLog, before.Position)
	}
	return wire.Epoch{}, fmt.Errorf("append: the log moved %d times meanwhile", maxRetries)
}

func (l *Log) append(ctx context.Context, entry []byte) (wire.Epoch, error) {
	link := l.nextLink(entry)
	apply, err := l.state.plan(ahead.Parse(link, entry), l.o.Namer)
	if err != nil {
		return wire.Epoch{}, err
	}
	record := l.bodies.SealRecord(link, entry)
	err = l.o.Store.Append(ctx, l.state.Epoch.Position, record)
	if err != nil && (errors.Is(err, store.ErrConflict) || !l.landed(ctx, link)) {
		return wire.Epoch{}, fmt.Errorf("append record %d: %w", link.Epoch.Position, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	apply()
	l.state.advance(link)
	l.trail = l.trail.Next(record)
	return link.Epoch, l.acted()
}

// landed reports whether a record is in the store although writing it gave an
// error.
func (l *Log) landed(ctx context.Context, link wire.Link) bool {
	for rec, err := range l.o.Store.Read(ctx, link.Epoch.Position, false) {
		if err != nil {
			return false
		}
		r, err := wire.ParseRecord(rec.Data)
		return err == nil && r.Link == link
	}
	return false
}

// acted writes the head file before anybody sees the new state. If that fails
// the log is closed: a later rollback could not be told. l.mu is held.
func (l *Log) acted() error {
	if err := l.remember(); err != nil {
		l.broken = err
		return err
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.saveLater()
	return nil
}

func (l *Log) nextLink(entry []byte) wire.Link {
	link := wire.Link{
		Type: wire.TypeRecord, Previous: l.state.Head, Server: l.o.Server, Content: wire.EntryHash(entry),
		Time:  max(l.o.Clock.Now().UnixMilli(), l.state.Time),
		Epoch: wire.Epoch{Generation: l.state.Epoch.Generation, Position: l.state.Epoch.Position + 1},
	}
	if _, body, err := parseEntry(entry); err == nil && body.Kind == members.KindRestore {
		link.Epoch.Generation++
	}
	return link
}

// Refresh takes in what other servers have appended. ErrLog: the store shows
// another history than before, or none, and the log is closed; ErrAhead, or an
// error of the store: try again.
func (l *Log) Refresh(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	return l.catchUp(ctx)
}

// Follow keeps the state up with the store until ctx ends or the log can't be
// followed.
func (l *Log) Follow(ctx context.Context) error {
	var from uint64
	l.View(func(s *State) { from = s.Epoch.Position + 1 })
	for _, err := range l.o.Store.Read(ctx, from, true) {
		if err == nil {
			err = l.refreshWaiting(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("follow the log: %w", err)
		}
	}
	return ctx.Err()
}

// refreshWaiting is Refresh that waits out a record which is ahead of the clock.
func (l *Log) refreshWaiting(ctx context.Context) error {
	for {
		err := l.Refresh(ctx)
		if !errors.Is(err, ErrAhead) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(aheadPause):
		}
	}
}
