// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"claviger/internal/wire"
)

// markEvery is how many leaves lie between two marks at least.
const markEvery = 4096

// journal is an open journal file and where its next batch goes.
type journal struct {
	file     File
	seed     uint32
	offset   int64
	sequence uint64
	room     int64 // zeros stand from offset up to here
}

// maxRoom is how far ahead zeros are written, once a journal is large.
const maxRoom = 1 << 20

// createJournal makes an empty journal, its directory and header durable. What
// is there under that name never held a batch.
func createJournal(fsys FS, dir string, id identity) (*journal, error) {
	home := numberDir(dir, id.number)
	if err := fsys.MkdirAll(home); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	f, err := fsys.Open(filepath.Join(home, journalName), true)
	if err != nil {
		return nil, fmt.Errorf("make journal: %w", err)
	}
	header := id.header()
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(header, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	for _, d := range []string{home, dir, filepath.Dir(filepath.Clean(dir))} {
		if err == nil {
			err = fsys.SyncDir(d)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make journal: %w", err)
	}
	return &journal{file: f, seed: checksum(header), offset: headerSize}, nil
}

// reserve has zeros stand where a batch of this size goes, and ahead of it. A sync
// of bytes in blocks that the file has already finds no size and no place to
// record, and costs half. They become durable together with the batch; recovery
// takes zeros for the end.
func (j *journal) reserve(size int64) error {
	const block = 4096
	if j.offset+size <= j.room {
		return nil
	}
	from := max(j.room, j.offset)
	to := j.offset + size + min(max(j.offset/2, block), maxRoom)
	to = (to + block - 1) / block * block
	zeros := make([]byte, min(to-from, 64<<10))
	for from < to {
		n, err := j.file.WriteAt(zeros[:min(to-from, int64(len(zeros)))], from)
		if err != nil {
			return fmt.Errorf("write ahead in journal: %w", err)
		}
		from += int64(n)
	}
	j.room = to
	return nil
}

// trim takes back the room after the last batch. It needn't be durable.
func (j *journal) trim() error {
	j.room = j.offset
	if err := j.file.Truncate(j.offset); err != nil {
		return fmt.Errorf("trim journal: %w", err)
	}
	return nil
}

// write makes a batch durable and returns where it lies.
//
// Invariant: no batch is written before the one before it is durable. Recovery
// tells damage from a torn tail by it (TestDamageIsNotTorn).
func (j *journal) write(buf []byte, first uint64) (offset int64, err error) {
	sealBatch(buf, j.seed, j.sequence, first)
	if err := j.reserve(int64(len(buf))); err != nil {
		return 0, err
	}
	if _, err := j.file.WriteAt(buf, j.offset); err != nil {
		return 0, fmt.Errorf("write journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return 0, fmt.Errorf("sync journal: %w", err)
	}
	offset = j.offset
	j.offset += int64(len(buf))
	j.sequence++
	return offset, nil
}

// run is the committer: one goroutine that writes whatever queued while the
// last sync ran.
func (l *Log) run() {
	defer close(l.over)
	for range l.wake {
		for b := l.gather(); b != nil; b = l.gather() {
			if err := l.commit(b); err != nil {
				l.fail(err, b)
				continue
			}
			if err := l.writeTiles(); err != nil {
				l.fail(err, nil)
			}
		}
	}
}

// maxCompany is how long a batch waits for company at most.
const maxCompany = time.Millisecond

// gather takes the next batch, which shares its sync with as many leaves as can be
// had. Those who were answered by the last one are likely to come again at once:
// with them and with whoever waits already the batch is complete, and for them it
// waits, but no longer than half of what a sync takes.
func (l *Log) gather() *batch {
	runtime.Gosched() // whoever can run may have a leaf
	l.mu.Lock()
	if b := l.filling; b != nil && len(l.ready) == 0 && len(b.hashes) < l.company && l.company > 1 && !l.closed {
		l.wanted = l.company
		select {
		case <-l.complete: // of a batch that had waited long enough
		default:
		}
	}
	waits := l.wanted > 0
	l.mu.Unlock()
	if waits {
		timer := time.NewTimer(min(l.syncTime/2, maxCompany))
		select {
		case <-l.complete:
		case <-timer.C:
		}
		timer.Stop()
	}
	return l.take()
}

// take returns the oldest batch, nil if there is none.
func (l *Log) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 {
		l.push()
	}
	if len(l.ready) == 0 {
		return nil
	}
	l.wanted = 0
	b := l.ready[0]
	l.ready[0] = nil
	l.ready = l.ready[1:]
	return b
}

// commit makes a batch durable and tells those who wait for it.
func (l *Log) commit(b *batch) error {
	if b.rolls {
		if err := l.rollTo(b.number); err != nil {
			return err
		}
	}
	sequence := l.journal.sequence
	start := l.o.Clock.Boot()
	offset, err := l.journal.write(b.buf, b.first)
	if err != nil {
		return err
	}
	l.syncTime = l.o.Clock.Boot() - start
	l.publish(b, mark{b.first, sequence, offset})
	l.mu.Lock()
	l.company = len(b.hashes)
	if l.filling != nil {
		l.company += len(l.filling.hashes)
	}
	for _, ref := range b.blobs {
		ref.file, ref.offset, ref.data = l.journal.file, offset+ref.offset, nil
	}
	l.backlog -= len(b.buf) - batchSize
	if cap(b.buf) <= fullBatch {
		l.spare = b.buf
	}
	b.buf = nil
	l.mu.Unlock()
	close(b.done)
	return nil
}

// publish adds a durable batch to the tree, before anyone is told: a checkpoint
// made after an answer covers the answer's leaf. The first batch of a number
// makes that number the one that checkpoints are of.
func (l *Log) publish(b *batch, at mark) {
	l.state.Lock()
	defer l.state.Unlock()
	if l.state.number != b.number {
		l.state.number, l.state.tree, l.state.marks = b.number, tree{}, nil
	}
	l.state.mark(at)
	for _, h := range b.hashes {
		l.state.tree.append(h)
	}
	for _, f := range l.state.tree.takeFull() {
		l.state.unwritten[tileName{f.level, f.number}] = f.hashes
	}
	l.state.end = l.journal.offset
}

func (d *durable) mark(m mark) {
	if n := len(d.marks); n == 0 || m.index-d.marks[n-1].index >= markEvery {
		d.marks = append(d.marks, m)
	}
}

// fail stops the log: the batch, if any, and all that wait get the error.
func (l *Log) fail(cause error, b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %w", ErrStopped, cause)
	}
	l.push()
	waiting := l.ready
	if b != nil {
		waiting = append(waiting, b)
	}
	l.ready, l.backlog = nil, 0
	for _, w := range waiting {
		w.err = l.err
		close(w.done)
	}
}

// rollTo closes the current log with its last checkpoint and begins the next.
func (l *Log) rollTo(number uint64) error {
	final, err := l.checkpoint()
	if err != nil {
		return err
	}
	if err := errors.Join(l.journal.trim(), l.putEdge()); err != nil {
		return err
	}
	next, err := createJournal(l.fs, l.o.Dir, l.identity(number))
	if err != nil {
		return err
	}
	previous := End{Number: final.Log, Size: final.Size, Root: final.Root}
	old := l.journal.file
	if err := l.use(number, next); err != nil {
		return err
	}
	// Blobs of the closed log may still be copied from its file, those of the
	// one before it no more.
	l.mu.Lock()
	err = l.retire(old)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.commitStart(Position{Log: number}, previous, ActionRoll, fmt.Sprintf("log %d is full", final.Log))
}

// putEdge writes what proofs of the log that is closed need beside its full tiles.
func (l *Log) putEdge() error {
	l.state.Lock()
	defer l.state.Unlock()
	return l.tiles.putEdge(&l.state.tree)
}

// use makes a journal the one that the committer writes.
func (l *Log) use(number uint64, j *journal) error {
	var err error
	if l.tiles != nil {
		err = l.tiles.close()
	}
	l.journal = j
	l.tiles = &tileStore{fs: l.fs, dir: l.o.Dir, number: number}
	return err
}

// retire keeps a closed log's file and closes that of the one before.
func (l *Log) retire(old File) error {
	before := l.oldFile
	l.oldFile = old
	if before == nil {
		return nil
	}
	if err := before.Close(); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// commitStart writes a start leaf as a batch of its own.
func (l *Log) commitStart(at Position, previous End, action, reason string) error {
	leaf := l.stamp(Leaf{Kind: Start, Action: action, Reason: reason, Previous: previous})
	body, err := leaf.encode()
	if err != nil {
		return err
	}
	b := &batch{number: at.Log, buf: appendEntry(make([]byte, batchSize), entryLeaf, body), hashes: []wire.Hash{leafHash(body)}}
	sequence := l.journal.sequence
	offset, err := l.journal.write(b.buf, at.Index)
	if err != nil {
		return err
	}
	l.publish(b, mark{at.Index, sequence, offset})
	return l.writeTiles()
}

// Close writes a stop leaf, makes everything durable, signs the last checkpoint
// and gives the directory back. Leaves that come afterwards get [ErrClosed].
// The error says that the end isn't durable; a second Close does nothing.
func (l *Log) Close() error {
	leaf := l.stamp(Leaf{Kind: Stop, Reason: "closed"})
	body, err := leaf.encode()
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.over
		return nil
	}
	_, ticket, err := l.queue(&leaf, body, leafHash(body))
	l.closed = true
	close(l.wake)
	l.mu.Unlock()
	<-l.over
	if err == nil {
		err = ticket.Wait(context.Background())
	}
	if err == nil {
		_, err = l.checkpoint()
	}
	if err == nil {
		err = l.journal.trim()
	}
	return l.release(err)
}

// release closes files and lock; it keeps err, or gives the first new one.
func (l *Log) release(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cerr := l.tiles.close(); cerr != nil && err == nil {
		err = fmt.Errorf("close audit log: %w", cerr)
	}
	closers := []io.Closer{l.journal.file, l.lock}
	if l.oldFile != nil {
		closers = append(closers, l.oldFile)
	}
	for _, c := range closers {
		if cerr := c.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("close audit log: %w", cerr)
		}
	}
	return err
}
