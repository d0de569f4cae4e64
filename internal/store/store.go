// SPDX-License-Identifier: Apache-2.0

// Package store keeps what servers share: one append-only log of records and
// a set of small versioned values called slots.
//
// # Which function for which need
//
// A server appends to the authority log with [Log.Append] and replays or
// follows it with [Log.Read]. Everything that changes in place (pending
// approvals, wrapped secrets, standing requests) lives in slots: [Slots.Get],
// [Slots.Put] with compare-and-swap, [Slots.List]. [NewMem] is a store for
// tests and demos; package store/bbolt keeps one in a local file. A further
// backend implements [Store], calls the Check functions of this package, uses
// a [Notifier] where its medium has no notification of its own, and runs the
// suite of package store/storetest.
//
// # What it does not do
//
// A store is no source of truth. It gives no confidentiality, no integrity and
// no erasure: what is written here is sealed and signed by its writer, and a
// value that was replaced or deleted may survive in free pages, old versions
// and copies. There is no leader, no lease and no transaction over several
// slots: a writer that loses a race gets [ErrConflict], reads and tries again.
//
// # Threats
//
// Whoever controls the store can withhold, destroy, freeze, put back older
// slots and show two readers two histories. Callers find that out by the hash
// chain of the records, by head files and by comparing statements. The limits
// below bound what a hostile store can make a reader allocate.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Limits of every backend, in bytes. The smallest medium decides them: a
// bucket object, an etcd value and a PostgreSQL index key all have to fit.
const (
	MaxRecord = 1 << 20 // one log record
	MaxValue  = 4 << 20 // one slot value
	MaxKey    = 512     // one slot key
)

var (
	// ErrConflict says that the log's head or the slot's version is not the
	// one the caller named: someone else was faster. Read, then try again.
	ErrConflict = errors.New("store: changed by another writer")
	// ErrNotFound says that no slot has this key.
	ErrNotFound = errors.New("store: no such slot")
	// ErrClosed is returned by every method after Close, and ends a running
	// Read or List.
	ErrClosed = errors.New("store: closed")
	// ErrInvalid says that an argument breaks a rule of this package: size,
	// alphabet, index 0. The store was not touched.
	ErrInvalid = errors.New("store: invalid argument")
)

// Record is one entry of the log.
type Record struct {
	Index uint64 // 1 for the first record; consecutive
	Data  []byte // 1 to MaxRecord bytes; the reader's own copy
}

// Log is an append-only sequence of records.
type Log interface {
	// Append adds record at index after+1; the first record of an empty log is
	// appended after 0. It returns nil only when the record is durable.
	// ErrConflict means that the head is not at after and nothing was written.
	// Any other error leaves open whether the record landed: only reading on
	// tells. Append keeps no reference to record.
	Append(ctx context.Context, after uint64, record []byte) error
	// Read yields the records from index from (1 or more) in order, without
	// gaps. Without follow it ends at the head, silently also if from lies
	// beyond it. With follow it waits for further records until ctx ends, the
	// store is closed or the loop is left. An error is yielded once, with a
	// zero Record, and is the last element. The loop's body may write to the
	// store.
	Read(ctx context.Context, from uint64, follow bool) iter.Seq2[Record, error]
}

// Entry is one slot as List yields it.
type Entry struct {
	Key     string
	Value   []byte // the reader's own copy
	Version uint64
}

// Slots are small values, each changed by compare-and-swap on its version.
// A version is opaque: never 0, and never given out twice for one key, also
// not across deletion, so that a slow writer can't hit a slot that was deleted
// and made anew. A writer that needs the version it made reads the slot again.
type Slots interface {
	// Get returns the value of the slot at key and its version, or ErrNotFound.
	Get(ctx context.Context, key string) (value []byte, version uint64, err error)
	// Put replaces the value if the slot is at oldVersion; 0 says that the slot
	// must not exist. A nil value deletes the slot; an empty one is refused.
	// It returns nil only when the change is durable, and ErrConflict, with
	// nothing changed, when the slot is at another version. Any other error
	// leaves open whether the change landed.
	Put(ctx context.Context, key string, oldVersion uint64, value []byte) error
	// List yields the slots whose key starts with prefix ("" for all) in the
	// byte order of their keys, none twice. It is no snapshot: of slots that
	// change meanwhile it shows some state they had. Errors as in Read. The
	// loop's body may write to the store.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// Store is a log and slots on one medium. All methods are safe for concurrent
// use. Close ends running reads, and a second Close returns nil.
type Store interface {
	Log
	Slots
	io.Closer
}

// CheckRecord reports whether record may be appended: 1 to MaxRecord bytes.
// Backends call it first in Append.
func CheckRecord(record []byte) error {
	if len(record) == 0 || len(record) > MaxRecord {
		return fmt.Errorf("%w: record of %d bytes (1 to %d allowed)", ErrInvalid, len(record), MaxRecord)
	}
	return nil
}

// CheckKey reports whether key may name a slot: 1 to MaxKey bytes of printable
// ASCII without the space, the alphabet that every backend keeps and orders
// alike. Backends call it first in Get and Put. The key's text is not part of
// the error.
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("%w: slot key of %d bytes (1 to %d allowed)", ErrInvalid, len(key), MaxKey)
	}
	return checkAlphabet(key)
}

// CheckPrefix is CheckKey for List, where the empty prefix is allowed.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKey {
		return fmt.Errorf("%w: slot prefix of %d bytes (at most %d allowed)", ErrInvalid, len(prefix), MaxKey)
	}
	return checkAlphabet(prefix)
}

// CheckPut checks the arguments of Put: the key, the value's size, and that a
// deletion names the version it deletes.
func CheckPut(key string, oldVersion uint64, value []byte) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if value == nil {
		if oldVersion == 0 {
			return fmt.Errorf("%w: deletion without a version", ErrInvalid)
		}
		return nil
	}
	if len(value) == 0 || len(value) > MaxValue {
		return fmt.Errorf("%w: slot value of %d bytes (1 to %d allowed)", ErrInvalid, len(value), MaxValue)
	}
	return nil
}

// CheckFrom reports whether Read may start at index from.
func CheckFrom(from uint64) error {
	if from == 0 {
		return fmt.Errorf("%w: log indexes start at 1", ErrInvalid)
	}
	return nil
}

func checkAlphabet(key string) error {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return fmt.Errorf("%w: slot key has a byte outside printable ASCII at %d", ErrInvalid, i)
		}
	}
	return nil
}
