// SPDX-License-Identifier: Apache-2.0

// Package bbolt keeps a store in one local file: the embedded default, used by
// one process.
//
// [Open] makes or opens the file; what it returns implements store.Store.
// Every write is one transaction with its own fsync, and returns after it.
// Followers are woken by the writer, without polling: in one process all
// writers go through the same [Store].
//
// # What it does not do
//
// One process at a time may have the file open: a second opener gets
// [ErrInUse] at once. Several servers need a store that is shared. The file
// never shrinks. The lock is flock(2), which does not hold on every network
// file system: keep the file on a local disk.
//
// # Erasure
//
// Nothing is erased here. bbolt writes a changed page to a new place: old
// versions of replaced slots, deleted slots and index pages remain readable in
// the file's free pages until a later write happens to reuse them, and below
// that in the medium and its snapshots. Callers seal what they write, and make
// a secret unreadable by erasing the key that seals it.
//
// # Threats
//
// Whoever can write the file can do what any hostile store can. Beyond that,
// bbolt follows page numbers and lengths of the mapped file without a checksum
// of each page. Damage that leads to a panic or a memory fault (a cut, rotten
// or edited file) is caught and becomes [ErrCorrupt], and the store refuses
// all further work; an edited file may still show other bytes of the process's
// memory as records, which then fail their seals. Keep the file writable by
// the server's user alone.
package bbolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"claviger/internal/store"
)

var (
	// ErrInUse says that a process, maybe this one, has the file open already.
	ErrInUse = errors.New("store file is open in another process")
	// ErrCorrupt says that the file's structure is damaged.
	ErrCorrupt = errors.New("store file is damaged")

	errTorn = fmt.Errorf("%w: its pages can't be followed", ErrCorrupt)
)

// The file's layout, version 1: bucket "meta" with "format" = one byte 1;
// bucket "log" with the record's index (8 bytes, big endian) → record; bucket
// "slots" with key → version (8 bytes, big endian) ‖ value, whose bucket
// sequence is the newest version given out.
const formatVersion = 1

// Options says how Open treats the file. The zero value opens or creates it
// and lets it grow.
type Options struct {
	Existing bool  // refuse to create a missing file: a server whose log is gone must not start with an empty one
	MaxSize  int64 // bytes the file may grow to; 0 means no limit. A write beyond it stops the store as a full disk does
}

// Store is a store.Store in one file.
type Store struct {
	db      *bolt.DB
	changed store.Notifier

	write  sync.Mutex            // held by the one writer: bbolt's own lock stays taken if a transaction panics
	failed atomic.Pointer[error] // why no work is done any more: ErrClosed, ErrCorrupt or a failed commit
	close  sync.Once
}

var _ store.Store = (*Store)(nil)

// Open opens the store file at path, creating it with mode 0600 where opts
// allow; the directory must exist. It never waits: a file that is in use gives
// ErrInUse. A missing file with Existing gives an error that wraps
// os.ErrNotExist, damage ErrCorrupt.
func Open(path string, opts Options) (*Store, error) {
	return open(path, opts, os.OpenFile)
}

type openFunc func(path string, flag int, mode os.FileMode) (*os.File, error)

func open(path string, opts Options, openFile openFunc) (*Store, error) {
	info, err := os.Stat(path)
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && (opts.Existing || !missing) {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if opts.Existing && info.Size() == 0 {
		return nil, fmt.Errorf("open store %s: %w: it is empty", path, ErrCorrupt)
	}
	s := new(Store)
	err = guard(func() error {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Nanosecond, // one try: zero would wait for ever
			FreelistType: bolt.FreelistMapType,
			MaxSize:      int(opts.MaxSize),
			OpenFile:     openFile,
		})
		return err
	})
	if err != nil {
		return nil, openError(path, err)
	}
	err = s.prepare()
	if err == nil && missing {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: %w: one server at a time may use it; stop the other one first", path, ErrInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("open store %s: %w: %w", path, ErrCorrupt, err)
	}
	return fmt.Errorf("open store %s: %w", path, err)
}

func logBucket() []byte   { return []byte("log") }
func slotsBucket() []byte { return []byte("slots") }

// prepare makes the buckets of an empty file and checks the format of others.
func (s *Store) prepare() error {
	return s.update(context.Background(), func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists([]byte("meta"))
		if err != nil {
			return err
		}
		switch format := meta.Get([]byte("format")); {
		case format == nil && tx.Bucket(logBucket()) == nil && tx.Bucket(slotsBucket()) == nil:
			return s.create(tx, meta)
		case len(format) == 1 && format[0] == formatVersion && tx.Bucket(logBucket()) != nil && tx.Bucket(slotsBucket()) != nil:
			return nil
		case len(format) == 1 && format[0] > formatVersion:
			return fmt.Errorf("format %d is newer than this program knows (%d)", format[0], formatVersion)
		default:
			return fmt.Errorf("%w: no store of this program", ErrCorrupt)
		}
	})
}

func (s *Store) create(tx *bolt.Tx, meta *bolt.Bucket) error {
	for _, name := range [][]byte{logBucket(), slotsBucket()} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return meta.Put([]byte("format"), []byte{formatVersion})
}

// update runs change in a transaction and commits it durably. The errors of
// change roll back and are returned. A commit that fails stops the store: after
// a failed fsync the page cache, and so every later read, may show what the
// disk doesn't hold.
func (s *Store) update(ctx context.Context, change func(*bolt.Tx) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.ready(ctx); err != nil {
		return err
	}
	var refused error
	err := guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			refused = change(tx)
			return refused
		})
	})
	if err != nil && (err != refused || errors.Is(err, ErrCorrupt)) {
		return s.fail(fmt.Errorf("write store: %w", err))
	}
	return err
}

// view runs look in a read transaction. look must copy what it keeps and must
// not call back to the user: a write that has to remap the file waits for it.
func (s *Store) view(ctx context.Context, look func(*bolt.Tx) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	err := guard(func() error { return s.db.View(look) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	if errors.Is(err, ErrCorrupt) {
		return s.fail(fmt.Errorf("read store: %w", err))
	}
	return err
}

func (s *Store) ready(ctx context.Context) error {
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	return ctx.Err()
}

// fail stops the store for good and wakes its followers; the first reason stays.
func (s *Store) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	s.changed.Close()
	return *s.failed.Load()
}

// Close waits for running transactions, closes the file and lets others open
// it. Later calls do nothing and return nil. If bbolt panicked, the file stays
// locked until the process ends: its own locks may still be held then.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		s.write.Lock()
		defer s.write.Unlock()
		torn := errors.Is(s.fail(store.ErrClosed), errTorn)
		closed := store.ErrClosed
		s.failed.Store(&closed)
		if torn {
			return
		}
		err = guard(s.db.Close)
	})
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// guard runs f and turns what bbolt does on a damaged file, panics and memory
// faults in the mapped file, into ErrCorrupt. The panic's text is left out: it
// may quote the file.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errTorn
		}
	}()
	return f()
}

// syncDir makes a new name in dir durable, which bbolt leaves to its caller.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func indexKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, index)
}
