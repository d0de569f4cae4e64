// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"

	"claviger/internal/wire"
)

// Entry is a leaf and where it stands.
type Entry struct {
	Position Position
	Leaf     *Leaf
}

// Numbers lists this server's logs in order; the last one takes leaves.
func (l *Log) Numbers() ([]uint64, error) {
	numbers, err := listNumbers(l.fs, l.o.Dir)
	if err != nil {
		return nil, err
	}
	current := l.durableNumber()
	return slices.DeleteFunc(numbers, func(n uint64) bool { return n > current }), nil
}

func (l *Log) durableNumber() uint64 {
	l.state.Lock()
	defer l.state.Unlock()
	return l.state.number
}

// Size returns the current log's number and how many of its leaves are durable.
func (l *Log) Size() (number, size uint64) {
	l.state.Lock()
	defer l.state.Unlock()
	return l.state.number, l.state.tree.size
}

// Leaves yields up to n durable leaves of one log in order, the first at from;
// the iteration ends earlier at the log's end, and after an error. It reads
// the journal while the log goes on.
func (l *Log) Leaves(from Position, n uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if n == 0 {
			return
		}
		stop := errors.New("stop")
		err := l.read(from, func(kind entryKind, index uint64, body []byte) error {
			if kind != entryLeaf || index < from.Index {
				return nil
			}
			leaf, err := ParseLeaf(body)
			if err != nil {
				return fmt.Errorf("leaf %d/%d: %w", from.Log, index, err)
			}
			if !yield(Entry{Position{Log: from.Log, Index: index}, leaf}, nil) {
				return stop
			}
			if index-from.Index+1 == n {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(Entry{}, err)
		}
	}
}

// ReadBlob returns a blob by its hash, checked against it: quickly if the
// current log or the one before holds it, else by reading the older logs.
// [ErrBlob] if none does.
func (l *Log) ReadBlob(hash wire.Hash) ([]byte, error) {
	l.mu.Lock()
	ref := l.blobs[hash]
	if ref == nil {
		ref = l.older[hash]
	}
	var data []byte
	var err error
	if ref != nil {
		data, err = ref.read()
		data = slices.Clone(data)
	}
	l.mu.Unlock()
	if ref == nil {
		data, err = l.findBlob(hash)
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", hash, err)
	}
	if sha256.Sum256(data) != hash {
		return nil, fmt.Errorf("%w: %s: its bytes have changed", ErrBlob, hash)
	}
	return data, nil
}

// findBlob looks through the logs, the newest first.
func (l *Log) findBlob(hash wire.Hash) ([]byte, error) {
	numbers, err := l.Numbers()
	if err != nil {
		return nil, err
	}
	found := errors.New("found")
	for _, number := range slices.Backward(numbers) {
		var data []byte
		err := l.read(Position{Log: number}, func(kind entryKind, _ uint64, body []byte) error {
			if kind == entryBlob && sha256.Sum256(body) == hash {
				data = slices.Clone(body)
				return found
			}
			return nil
		})
		if errors.Is(err, found) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrBlob
}

// read calls f with the entries of one log, from the batch that holds from at
// the latest, up to what is durable now. Bodies are valid during the call only.
func (l *Log) read(from Position, f func(kind entryKind, index uint64, body []byte) error) error {
	file, err := l.fs.Open(filepath.Join(numberDir(l.o.Dir, from.Log), journalName), false)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	size, start := l.extent(from, size)
	r, err := newReader(file, size, l.identity(from.Log))
	if err != nil {
		return fmt.Errorf("read journal %d: %w", from.Log, err)
	}
	if start.offset > 0 {
		r.offset, r.sequence, r.index = start.offset, start.sequence, start.index
	}
	for {
		index := r.index
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read journal %d after leaf %d: %w", from.Log, index, err)
		}
		err = entries(b.payload, func(kind entryKind, _ int, body []byte) error {
			at := index
			if kind == entryLeaf {
				index++
			}
			return f(kind, at, body)
		})
		if err != nil {
			return err
		}
	}
}

// extent is where reading ends, and the last mark before from. Of the current
// log only what is durable counts; closed ones are read whole.
func (l *Log) extent(from Position, size int64) (int64, mark) {
	l.state.Lock()
	defer l.state.Unlock()
	if from.Log != l.state.number {
		return size, mark{}
	}
	var start mark
	for _, m := range l.state.marks {
		if m.index > from.Index {
			break
		}
		start = m
	}
	return min(size, l.state.end), start
}
