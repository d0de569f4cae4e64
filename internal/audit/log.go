// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"claviger/internal/audit/attributes"
	"claviger/internal/audit/disk"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Errors that callers branch on. ErrStopped, ErrBusy and ErrClosed all mean:
// answer nothing.
var (
	// ErrStopped says that the log could not be written and takes nothing more
	// until it is opened again; the first cause is wrapped beside it.
	ErrStopped = errors.New("audit log stopped")
	// ErrBusy says that too much waits for the disk: the caller may try later.
	ErrBusy = errors.New("audit log is behind")
	// ErrClosed says that the log was closed in order.
	ErrClosed = errors.New("audit log is closed")
	// ErrBlob says that a leaf names a blob that this log doesn't hold, or that
	// a blob is not there to be read.
	ErrBlob = errors.New("unknown blob")
	// ErrConfig says that the log was opened with the wrong options.
	ErrConfig = errors.New("wrong audit log")
)

// Defaults and limits of [Options].
const (
	DefaultMaxBytes   = 1 << 30  // of a journal, before the next number begins
	DefaultMaxBacklog = 64 << 20 // bytes that wait for the disk
	DefaultMaxBlobs   = 128 << 10
)

// FS is the file system that the log lies in.
type FS = disk.FS

// File is an open file of it.
type File = disk.File

// OS returns the file system of the operating system.
func OS() FS { return disk.OS() }

// Options says whose log it is and where it lies.
type Options struct {
	Dir    string        // the directory of all of this server's logs; made if it isn't there
	Domain wire.DomainID // the trust domain
	Server wire.ServerID // the server whose log it is
	Signer crypto.Signer // the server's signing key, Ed25519: signs checkpoints
	Clock  clock.Clock
	FS     FS // nil: the operating system's
	// Anchor is the newest of this server's checkpoints in the authority log,
	// nil if there is none. A log that doesn't reach it, or differs from it, is
	// never continued.
	Anchor *wire.Checkpoint
	// MaxBytes is the size of a journal at which the next number begins, and so
	// bounds the time that Open takes. 0: DefaultMaxBytes.
	MaxBytes int64
	// MaxBacklog bounds the bytes that were entered and are not durable yet;
	// beyond it Enter gives ErrBusy. 0: DefaultMaxBacklog.
	MaxBacklog int
	// MaxBlobs is how many blobs a number has before the next begins: of each some
	// hundred bytes are kept in memory, for two numbers. 0: DefaultMaxBlobs.
	MaxBlobs int
}

// Log is a server's audit log, open for writing. It is safe for concurrent use.
type Log struct {
	o   Options
	fs  FS
	key *noteKey

	mu      sync.Mutex // guards what Enter and the committer share
	next    Position   // of the next leaf
	filling *batch     // takes entries; nil if empty
	ready   []*batch   // full, in order, before filling
	backlog int        // bytes entered, not durable
	length  int64      // bytes of the current number's journal, once all is written
	blobs   blobIndex  // of the current number
	older   blobIndex  // of the number before
	oldFile File       // journal of the number before
	spare   []byte     // a buffer for the next batch
	err     error      // why the log stopped
	closed  bool
	company int // leaves that the next batch may have, see gather
	wanted  int // leaves that the committer waits for; 0: it doesn't

	wake     chan struct{} // of capacity 1: there is something to write
	complete chan struct{} // of capacity 1: the batch has the leaves that were wanted
	over     chan struct{} // closed when the committer has ended
	lock     io.Closer

	journal  *journal      // the committer's
	tiles    *tileStore    // the committer's
	syncTime time.Duration // of the last batch; the committer's
	state    durable       // what has reached the disk
	signing  sync.Mutex    // held while a checkpoint is made
	last     Checkpoint    // the newest one made; guarded by signing
	opening  Opening
}

// durable is what has reached the disk.
type durable struct {
	sync.Mutex
	number    uint64
	tree      tree
	marks     []mark                   // where in the journal some leaves are
	unwritten map[tileName][]wire.Hash // full tiles on the way to their files
	end       int64                    // bytes of the journal
}

// mark is a batch's place, kept for some batches so that reading can begin in
// the middle.
type mark struct {
	index    uint64 // of the batch's first leaf
	sequence uint64
	offset   int64
}

// batch is what one write and one sync make durable.
type batch struct {
	number uint64
	first  uint64 // index of its first leaf
	rolls  bool   // the first batch of a number that follows a full one
	buf    []byte // batchSize bytes for the header, then the payload
	hashes []wire.Hash
	blobs  []*blob
	done   chan struct{} // closed when durable or failed
	err    error         // set before done is closed
}

// blob is a blob's place.
type blob struct {
	data   []byte // until it is durable
	file   File
	offset int64 // of the body: in the batch at first, then in the file
	size   int
}

type blobIndex map[wire.Hash]*blob

// Ticket stands for a leaf that was entered.
type Ticket struct{ b *batch }

// Wait returns nil when the leaf is durable. Any error means that it may not
// be, and that nothing may be answered: [ErrStopped], or the context's. The
// leaf may still become durable after an error; a leaf without an answer does
// no harm.
func (t Ticket) Wait(ctx context.Context) error {
	if t.b == nil {
		return ErrStopped
	}
	select {
	case <-t.b.done:
		return t.b.err
	default:
	}
	select {
	case <-t.b.done:
		return t.b.err
	case <-ctx.Done():
		return fmt.Errorf("wait for audit leaf: %w", context.Cause(ctx))
	}
}

// Enter gives a leaf its position and queues it for the next group commit. It
// never waits for the disk. Errors: [ErrLeaf], [ErrBlob], [ErrBusy],
// [ErrClosed], [ErrStopped].
func (l *Log) Enter(leaf Leaf) (Position, Ticket, error) {
	if leaf.Kind == Start || leaf.Kind == Stop {
		return Position{}, Ticket{}, fmt.Errorf("%w: a log writes start and stop itself", ErrLeaf)
	}
	if len(leaf.Record) > attributes.MaxRecord {
		return Position{}, Ticket{}, fmt.Errorf("%w: attribute record of %d bytes", ErrLeaf, len(leaf.Record))
	}
	leaf = l.stamp(leaf)
	body, err := leaf.encode()
	if err != nil {
		return Position{}, Ticket{}, err
	}
	hash := leafHash(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue(&leaf, body, hash)
}

// stamp sets what the log and not the caller says.
func (l *Log) stamp(leaf Leaf) Leaf {
	leaf.Shape = leafShape
	if leaf.Time == 0 {
		leaf.Time = l.o.Clock.Now().UnixMilli()
	}
	if len(leaf.Record) > 0 {
		leaf.Attributes = append(slices.Clip(leaf.Attributes), sha256.Sum256(leaf.Record))
	}
	return leaf
}

// queue gives an encoded leaf its place. l.mu is held.
func (l *Log) queue(leaf *Leaf, body []byte, hash wire.Hash) (Position, Ticket, error) {
	if err := l.admit(len(body) + len(leaf.Record)); err != nil {
		return Position{}, Ticket{}, err
	}
	if err := l.carry(leaf); err != nil {
		return Position{}, Ticket{}, err
	}
	at := l.next
	b := l.add(entryLeaf, body)
	b.hashes = append(b.hashes, hash)
	l.next.Index++
	if l.wanted > 0 && (len(b.hashes) >= l.wanted || len(l.ready) > 0) {
		l.wanted = 0
		select {
		case l.complete <- struct{}{}:
		default:
		}
	}
	return at, Ticket{b}, nil
}

// Blob stores data once per log, to be named by leaves, and returns its SHA-256.
// It is durable before any leaf that is entered afterwards. Errors as
// for Enter; [ErrBlob] if it is empty or larger than MaxBlob.
func (l *Log) Blob(data []byte) (wire.Hash, error) {
	if len(data) == 0 || len(data) > MaxBlob {
		return wire.Hash{}, fmt.Errorf("%w: %d bytes", ErrBlob, len(data))
	}
	hash := wire.Hash(sha256.Sum256(data))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blobs[hash] != nil && l.err == nil && !l.closed {
		return hash, nil
	}
	if err := l.admit(len(data)); err != nil {
		return wire.Hash{}, err
	}
	l.addBlob(hash, data)
	return hash, nil
}

// Known reports whether leaves may name the blob without storing it again.
func (l *Log) Known(hash wire.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blobs[hash] != nil || l.older[hash] != nil
}

// Healthy returns nil while the log takes leaves, else [ErrStopped] with its
// cause, or [ErrClosed].
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

func (l *Log) usable() error {
	if l.err != nil {
		return l.err
	}
	if l.closed {
		return ErrClosed
	}
	return nil
}

// admit decides whether an entry of this size may come, and begins the next
// number if the journal is full.
func (l *Log) admit(size int) error {
	if err := l.usable(); err != nil {
		return err
	}
	if l.backlog+size > l.o.MaxBacklog && l.backlog > 0 {
		return ErrBusy
	}
	// Two leaves at least, so that a number isn't only its start.
	full := l.length+int64(entrySize+size) > l.o.MaxBytes || len(l.blobs) >= l.o.MaxBlobs
	if full && l.next.Index > 1 {
		l.roll()
	}
	return nil
}

// roll begins the next number. Index 0 there belongs to the start leaf, which
// the committer writes: only it will know the old log's root.
func (l *Log) roll() {
	l.push()
	l.next = Position{Log: l.next.Log + 1, Index: 1}
	l.older, l.blobs = l.blobs, blobIndex{}
	l.length = headerSize
	l.newBatch().rolls = true
}

// carry makes sure that the blobs which a leaf names are in its own log, so that
// each number can be read alone. Those of the number before are copied.
func (l *Log) carry(leaf *Leaf) error {
	var failed error
	leaf.blobs(func(h wire.Hash) {
		if l.blobs[h] != nil || failed != nil {
			return
		}
		if len(leaf.Record) > 0 && h == sha256.Sum256(leaf.Record) {
			l.addBlob(h, leaf.Record)
			return
		}
		old := l.older[h]
		if old == nil {
			failed = fmt.Errorf("%w: %s", ErrBlob, h)
			return
		}
		data, err := old.read()
		if err == nil && sha256.Sum256(data) != h {
			err = errors.New("its bytes have changed")
		}
		if err != nil {
			failed = fmt.Errorf("%w: %s: %w", ErrBlob, h, err)
			return
		}
		l.addBlob(h, data)
	})
	return failed
}

func (b *blob) read() ([]byte, error) {
	if b.data != nil {
		return b.data, nil
	}
	data := make([]byte, b.size)
	_, err := b.file.ReadAt(data, b.offset)
	if errors.Is(err, io.EOF) {
		err = nil // a full read that ends the file
	}
	return data, err
}

func (l *Log) addBlob(hash wire.Hash, data []byte) {
	b := l.add(entryBlob, data)
	ref := &blob{offset: int64(len(b.buf) - len(data)), size: len(data)}
	// The payload's copy: the caller's slice is the caller's.
	ref.data = b.buf[ref.offset:len(b.buf):len(b.buf)]
	b.blobs = append(b.blobs, ref)
	l.blobs[hash] = ref
}

// add puts an entry into the batch that is being filled.
func (l *Log) add(kind entryKind, body []byte) *batch {
	if l.filling != nil && len(l.filling.buf) > batchSize && len(l.filling.buf)-batchSize+entrySize+len(body) > fullBatch {
		l.push()
	}
	b := l.filling
	if b == nil {
		b = l.newBatch()
	}
	b.buf = appendEntry(b.buf, kind, body)
	l.backlog += entrySize + len(body)
	l.length += int64(entrySize + len(body))
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return b
}

func (l *Log) newBatch() *batch {
	buf := l.spare
	if buf == nil {
		buf = make([]byte, batchSize, 64<<10)
	}
	l.spare = nil
	l.length += batchSize
	l.filling = &batch{number: l.next.Log, first: l.next.Index, buf: buf[:batchSize], done: make(chan struct{})}
	return l.filling
}

// push closes the batch that is being filled.
func (l *Log) push() {
	if l.filling != nil {
		l.ready = append(l.ready, l.filling)
		l.filling = nil
	}
}
