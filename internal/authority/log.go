// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// ErrLog means that the log can't be believed: a record was changed, is missing,
// out of order or foreign, or the store went back behind what this server has
// acted on. The text says which.
var ErrLog = errors.New("authority log refused")

// ErrAhead means that a record's time lies too far ahead of this machine's
// clock.
var ErrAhead = errors.New("the clock is behind the authority log")

// maxAhead is how far a record may lie ahead of a server's clock.
const maxAhead = 30 * time.Second

// maxRetries bounds how often Append runs after a moving head.
const maxRetries = 16

// Options of a Log. All but Server, Signer, HeadPath and AcceptRollback are
// required.
type Options struct {
	Store     store.Store
	Domain    wire.DomainID // the pin
	BodySeal  *secret.Bytes // root-derived, 32 bytes: seals bodies
	SlotSeal  *secret.Bytes // root-derived: seals pending bodies
	LocalSeal *secret.Bytes // root-derived: seals the head file
	HeadPath  string        // head file; "" keeps none (tests and tools that only read)
	Server    wire.ServerID // who appends
	Signer    crypto.Signer // the server's signing key
	Clock     clock.Clock
	Namer     RevocationNamer // client → revocation id
	Accept    []byte          // a quorum-signed AcceptRollback, if people decided so
	Fresh     bool            // set by init: no head file is expected yet
}

// Log is the authority log of one domain, replayed and verified. It is safe for
// concurrent use.
type Log struct {
	o       Options
	bodies  box
	pending box
	head    headFile

	mu      sync.RWMutex
	state   *State
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
	l.state = state
	if err := o.Store.Append(ctx, 0, l.record(link, genesis)); err != nil {
		return nil, fmt.Errorf("write genesis: %w", err)
	}
	return l, l.remember()
}

// Open replays and verifies the whole log and returns it, or says what is wrong
// with it.
func Open(ctx context.Context, o Options) (*Log, error) {
	l := newLog(o)
	if err := l.catchUp(ctx); err != nil {
		return nil, err
	}
	if l.state == nil {
		return nil, fmt.Errorf("%w: the store is empty", ErrLog)
	}
	if err := l.extendsHead(); err != nil {
		return nil, err
	}
	return l, l.remember()
}

func newLog(o Options) *Log {
	return &Log{
		o:       o,
		bodies:  box{o.BodySeal, o.Domain, "record"},
		pending: box{o.SlotSeal, o.Domain, "pending"},
		head:    headFile{o.HeadPath, box{o.LocalSeal, o.Domain, "head"}},
		changed: make(chan struct{}),
	}
}

// extendsHead holds that the log goes on from what this server acted on.
func (l *Log) extendsHead() error {
	if l.o.HeadPath == "" || l.o.Fresh {
		return nil
	}
	seen, err := l.head.read()
	if err != nil {
		return err
	}
	var problem error
	switch {
	case seen == nil:
		problem = fmt.Errorf("%w: the head file is missing, so nothing shows that the store is not an old copy", ErrLog)
	case seen.Domain != l.o.Domain:
		return fmt.Errorf("%w: the head file is another installation's", ErrLog)
	case seen.Epoch.Compare(l.state.Epoch) > 0:
		problem = fmt.Errorf("%w: the store is older than what this server has acted on: it ends at %s, the head file says %s", ErrLog, l.state.Epoch, seen.Epoch)
	default:
		if at, ok := l.state.HeadAt(seen.Epoch.Position); ok && at == seen.Head {
			return nil
		}
		problem = fmt.Errorf("%w: the store holds another history than this server has acted on, from record %d or before", ErrLog, seen.Epoch.Position)
	}
	if len(l.o.Accept) == 0 {
		return problem
	}
	if err := l.state.accepts(l.o.Accept); err != nil {
		return fmt.Errorf("%w; and the file given to accept it does not: %w", problem, err)
	}
	return nil
}

func (l *Log) remember() error {
	if l.o.HeadPath == "" {
		return nil
	}
	return l.head.write(headRecord{Domain: l.o.Domain, Epoch: l.state.Epoch, Head: l.state.Head})
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

// Err says why the log can't be used any more, nil while it can.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.broken
}

// Append checks an entry against the present state and appends it. It is durable,
// and the head file knows it, when Append returns. ErrRefused or
// members.ErrThreshold: it would have been void, so it was not written.
func (l *Log) Append(ctx context.Context, entry []byte) (wire.Epoch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range maxRetries {
		if l.broken != nil {
			return wire.Epoch{}, l.broken
		}
		epoch, err := l.append(ctx, entry)
		if !errors.Is(err, store.ErrConflict) {
			return epoch, err
		}
		if err := l.catchUp(ctx); err != nil {
			return wire.Epoch{}, err
		}
	}
	return wire.Epoch{}, fmt.Errorf("append: the log moved %d times meanwhile", maxRetries)
}

func (l *Log) append(ctx context.Context, entry []byte) (wire.Epoch, error) {
	link := l.nextLink(entry)
	apply, err := l.state.plan(link, entry, l.o.Namer)
	if err != nil {
		return wire.Epoch{}, err
	}
	if err := l.o.Store.Append(ctx, l.state.Epoch.Position, l.record(link, entry)); err != nil {
		return wire.Epoch{}, fmt.Errorf("append record %d: %w", link.Epoch.Position, err)
	}
	apply()
	l.state.advance(link)
	return link.Epoch, l.acted()
}

// acted writes the head file before anything is done on the new state. If that
// fails the log is closed: a later rollback could not be told.
func (l *Log) acted() error {
	if err := l.remember(); err != nil {
		l.broken = err
		return err
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *Log) nextLink(entry []byte) wire.Link {
	link := wire.Link{
		Type: wire.TypeRecord, Previous: l.state.Head, Server: l.o.Server, Content: wire.EntryHash(entry),
		Time:  max(l.o.Clock.Now().UnixMilli(), l.state.Time),
		Epoch: wire.Epoch{Generation: l.state.Epoch.Generation, Position: l.state.Epoch.Position + 1},
	}
	if _, body, err := parseEntry(entry); err == nil && body.Kind == "members.restore" {
		link.Epoch.Generation++
	}
	return link
}

func (l *Log) record(link wire.Link, entry []byte) []byte {
	return wire.Marshal(wire.Record{Link: link, Sealed: l.bodies.seal(entry, wire.Marshal(link))})
}

// Refresh takes in what other servers have appended.
func (l *Log) Refresh(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.state.Epoch
	if err := l.catchUp(ctx); err != nil {
		l.broken = err
		return err
	}
	if l.state.Epoch == before {
		return nil
	}
	return l.acted()
}

// Follow keeps the state up with the store until ctx ends.
func (l *Log) Follow(ctx context.Context) error {
	l.mu.RLock()
	from := l.state.Epoch.Position + 1
	l.mu.RUnlock()
	for _, err := range l.o.Store.Read(ctx, from, true) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = l.Refresh(ctx)
		}
		if err != nil {
			return fmt.Errorf("follow the log: %w", err)
		}
	}
	return ctx.Err()
}

// catchUp folds what the store holds beyond the state.
func (l *Log) catchUp(ctx context.Context) error {
	from := uint64(1)
	if l.state != nil {
		from = l.state.Epoch.Position + 1
	}
	for rec, err := range l.o.Store.Read(ctx, from, false) {
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := l.take(rec); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) take(rec store.Record) error {
	opened, err := l.open(rec)
	if err != nil {
		return err
	}
	if ahead := time.UnixMilli(opened.Link.Time).Sub(l.o.Clock.Now()); ahead > maxAhead {
		return fmt.Errorf("%w: record %d is %s ahead of this machine's clock; set the clock right", ErrAhead, rec.Index, ahead.Round(time.Second))
	}
	if l.state != nil {
		return l.state.Fold(opened.Link, opened.Entry, l.o.Namer)
	}
	state, err := Found(opened.Link, opened.Entry)
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
	entry, err := l.bodies.open(r.Sealed, wire.Marshal(r.Link))
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
