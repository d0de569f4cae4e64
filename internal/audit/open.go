// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

// Names below Options.Dir.
const (
	lockName       = "lock"
	journalName    = "journal"
	checkpointName = "checkpoint"
)

// numberDir is the directory of one log.
func numberDir(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d", number))
}

// Opening tells what Open found, for the operator.
type Opening struct {
	Number uint64 // the log that takes leaves now
	Cut    int64  // bytes of a torn tail, never acknowledged, that were cut
	// GivenUp says why the log before Number was left as it is and not
	// continued: an alarm. Empty if it was continued, or full, or there was none.
	GivenUp string
}

// Opened tells what Open found.
func (l *Log) Opened() Opening { return l.opening }

// Open opens the newest log under o.Dir, recovers it, and writes a start leaf,
// so that a log that can't be written fails here. A log that is damaged, that
// doesn't reach or differs from its own checkpoint or from o.Anchor, is left
// as it is, and the next number begins with a leaf that says so; [Log.Opened]
// tells it too. Errors: [ErrConfig], or the file system's.
func Open(o Options) (*Log, error) {
	key, err := newNoteKey(o.Signer)
	if err != nil {
		return nil, err
	}
	if o.Clock == nil || o.Dir == "" {
		return nil, fmt.Errorf("%w: no clock or no directory", ErrConfig)
	}
	l := &Log{o: o, fs: o.FS, key: key, blobs: blobIndex{}, wake: make(chan struct{}, 1), complete: make(chan struct{}, 1), over: make(chan struct{})}
	if l.fs == nil {
		l.fs = OS()
	}
	if l.o.MaxBytes == 0 {
		l.o.MaxBytes = DefaultMaxBytes
	}
	if l.o.MaxBacklog == 0 {
		l.o.MaxBacklog = DefaultMaxBacklog
	}
	if l.o.MaxBlobs == 0 {
		l.o.MaxBlobs = DefaultMaxBlobs
	}
	l.state.unwritten = map[tileName][]wire.Hash{}
	if err := l.fs.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("make audit directory: %w", err)
	}
	l.lock, err = l.fs.Lock(filepath.Join(o.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	if err := l.reopen(); err != nil {
		l.lock.Close()
		if l.journal != nil {
			l.journal.file.Close()
		}
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	go l.run()
	return l, nil
}

// reopen makes the newest log the current one, or begins the next.
func (l *Log) reopen() error {
	newest, s, err := l.newest()
	if err != nil {
		return err
	}
	previous, reason := l.judge(newest, &s)
	if reason == "" && newest > 0 {
		return l.resume(newest, &s)
	}
	if s.file != nil {
		s.file.Close()
	}
	l.opening.GivenUp = reason
	action := ActionGiveUp
	if reason == "" {
		action = ActionFirst
	}
	number := previous.Number + 1
	j, err := createJournal(l.fs, l.o.Dir, l.identity(number))
	if err != nil {
		return err
	}
	if err := l.use(number, j); err != nil {
		return err
	}
	return l.started(Position{Log: number}, previous, action, reason)
}

// newest finds the highest number that ever held a leaf, 0 if none did. A
// number without one was being begun when its process died: it begins again,
// so that its start leaf can name the log before it.
func (l *Log) newest() (uint64, scan, error) {
	numbers, err := listNumbers(l.fs, l.o.Dir)
	if err != nil {
		return 0, scan{}, err
	}
	for _, number := range slices.Backward(numbers) {
		s, err := l.scan(number)
		if err != nil {
			return 0, scan{}, err
		}
		if s.tree.size > 0 || s.damage != "" || len(s.roots) > 0 {
			return number, s, nil
		}
		if s.file != nil {
			s.file.Close()
		}
	}
	return 0, scan{}, nil
}

// started writes the start leaf and sets what Enter goes on from.
func (l *Log) started(at Position, previous End, action, reason string) error {
	if err := l.commitStart(at, previous, action, reason); err != nil {
		return err
	}
	l.next = Position{Log: at.Log, Index: at.Index + 1}
	l.length = l.journal.offset
	l.opening.Number = at.Log
	return nil
}

// listNumbers lists the logs in a directory in order; other names are not ours.
func listNumbers(fsys FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list audit directory: %w", err)
	}
	var numbers []uint64
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 63)
		if err == nil && n > 0 && filepath.Base(numberDir(dir, n)) == name {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// scan is what a journal was found to hold.
type scan struct {
	file       File // nil if there is no journal
	tree       tree
	tiles      []fullTile
	blobs      blobIndex
	marks      []mark
	end        int64  // after the last whole batch; 0 if there is no header
	size       int64  // of the file, without the zeros at its end
	sequence   uint64 // of the next batch
	lastBatch  []byte
	damage     string     // why the journal can't be trusted
	checkpoint Checkpoint // the newest one signed; size 0 without
	roots      map[uint64]wire.Hash
}

// scan reads a whole journal. An error is one of the file system or of the
// options; what is wrong with the journal is in the result.
func (l *Log) scan(number uint64) (scan, error) {
	s := scan{blobs: blobIndex{}, roots: map[uint64]wire.Hash{}}
	home := numberDir(l.o.Dir, number)
	signed, err := disk.ReadFile(l.fs, filepath.Join(home, checkpointName), maxNote)
	if err != nil {
		return s, fmt.Errorf("read checkpoint: %w", err)
	}
	if signed != nil {
		s.checkpoint, err = ParseCheckpoint(signed, Origin(l.o.Domain, l.o.Server, number), l.key.public)
		if err != nil {
			s.damage = "its checkpoint can't be read"
		}
		s.checkpoint.Log = number
		if s.checkpoint.Size > 0 {
			s.roots[s.checkpoint.Size] = wire.Hash{}
		}
	}
	if l.o.Anchor != nil && l.o.Anchor.Log == number && l.o.Anchor.Size > 0 {
		s.roots[l.o.Anchor.Size] = wire.Hash{}
	}
	s.file, err = l.fs.Open(filepath.Join(home, journalName), false)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("open journal: %w", err)
	}
	if err := s.read(l.identity(number)); err != nil {
		s.file.Close()
		return s, err
	}
	return s, nil
}

// read reads the batches up to the first that isn't whole, and then decides
// whether the rest is a torn tail or damage.
func (s *scan) read(id identity) error {
	var err error
	if s.size, err = s.file.Size(); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	r, err := newReader(s.file, s.size, id)
	if errors.Is(err, errTorn) {
		// The header is durable before the first batch is written.
		if s.size > headerSize {
			s.damage = "its header can't be read"
		}
		return nil
	}
	if err != nil {
		return err
	}
	for {
		b, err := r.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return err
		}
		s.take(b)
	}
	s.end, s.size, s.sequence = r.offset, r.size, r.sequence
	if s.end < s.size {
		follows, err := r.wholeBatchAfter()
		if err != nil {
			return err
		}
		if follows {
			s.damage = fmt.Sprintf("its journal is damaged at byte %d, after leaf %d", s.end, s.tree.size)
		}
	}
	return nil
}

// take adds one batch.
func (s *scan) take(b batchInfo) {
	if n := len(s.marks); n == 0 || b.first-s.marks[n-1].index >= markEvery {
		s.marks = append(s.marks, mark{b.first, b.sequence, b.offset})
	}
	// The reader has found the payload whole, so no entry fails.
	_ = entries(b.payload, func(kind entryKind, offset int, body []byte) error {
		if kind == entryBlob {
			s.blobs[sha256.Sum256(body)] = &blob{file: s.file, offset: b.offset + batchSize + int64(offset), size: len(body)}
			return nil
		}
		s.tree.append(leafHash(body))
		if _, wanted := s.roots[s.tree.size]; wanted {
			s.roots[s.tree.size] = s.tree.root()
		}
		return nil
	})
	s.tiles = append(s.tiles, s.tree.takeFull()...)
	s.lastBatch = append(s.lastBatch[:0], make([]byte, batchSize)...)
	s.lastBatch = append(s.lastBatch, b.payload...)
}

// judge decides whether the newest log may be continued. If not it returns why,
// and how that log is known to have ended; its number is the one before the next.
func (l *Log) judge(newest uint64, s *scan) (End, string) {
	found := End{Number: newest, Size: s.tree.size, Root: s.tree.root()}
	if newest == 0 {
		found = End{}
	}
	anchor := l.o.Anchor
	if anchor != nil && anchor.Log > newest {
		return End{Number: anchor.Log, Size: anchor.Size, Root: anchor.Root},
			fmt.Sprintf("log %d is anchored, but not here", anchor.Log)
	}
	if s.damage != "" {
		return found, fmt.Sprintf("log %d was given up: %s", newest, s.damage)
	}
	if !s.holds(s.checkpoint.Checkpoint) {
		return found, fmt.Sprintf("log %d was given up: it doesn't match its checkpoint of %d leaves", newest, s.checkpoint.Size)
	}
	if anchor != nil && anchor.Log == newest && !s.holds(*anchor) {
		return found, fmt.Sprintf("log %d was given up: it doesn't match its anchor of %d leaves", newest, anchor.Size)
	}
	return found, ""
}

// holds reports whether the journal extends what was signed.
func (s *scan) holds(c wire.Checkpoint) bool {
	return c.Size == 0 || c.Size <= s.tree.size && s.roots[c.Size] == c.Root
}

// resume continues the newest log after its last whole batch.
func (l *Log) resume(number uint64, s *scan) error {
	header := l.identity(number).header()
	j := &journal{file: s.file, seed: checksum(header), offset: s.end, sequence: s.sequence}
	if err := errors.Join(l.use(number, j), l.settle(s)); err != nil {
		return err
	}
	l.last, l.blobs = s.checkpoint, s.blobs
	l.state.number, l.state.tree, l.state.marks = number, s.tree, s.marks
	for _, t := range s.tiles {
		if err := l.tiles.mend(tileName{t.level, t.number}, t.hashes); err != nil {
			return err
		}
	}
	l.opening.Cut = s.size - s.end
	reason := ""
	if l.opening.Cut > 0 {
		reason = fmt.Sprintf("%d bytes cut that were never acknowledged", l.opening.Cut)
	}
	return l.started(Position{Log: number, Index: s.tree.size}, End{}, ActionContinue, reason)
}

// settle cuts the torn tail and makes the last batch durable once more: if the
// sync that should have done it failed, the kernel may show a batch that the
// disk doesn't have and that no later sync would write.
func (l *Log) settle(s *scan) error {
	if err := s.file.Truncate(s.end); err != nil {
		return fmt.Errorf("cut journal: %w", err)
	}
	if len(s.lastBatch) > 0 {
		from := s.end - int64(len(s.lastBatch))
		if _, err := s.file.ReadAt(s.lastBatch[:batchSize], from); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if _, err := s.file.WriteAt(s.lastBatch, from); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

func (l *Log) identity(number uint64) identity {
	return identity{l.o.Domain, l.o.Server, number}
}
