// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

// ErrProof says that there is no such proof: the leaf or size lies beyond what
// is durable.
var ErrProof = errors.New("no such proof")

// ProveLeaf proves that the leaf at a position is in the tree of the first size
// leaves of its log: the audit path of RFC 6962, section 2.1.1, checked by
// [CheckLeaf].
func (l *Log) ProveLeaf(at Position, size uint64) ([]wire.Hash, error) {
	return l.prove(at.Log, func(s *hashSource) ([]wire.Hash, error) { return s.proveLeaf(at.Index, size) })
}

// ProveExtension proves that the tree of size leaves of a log begins with that
// of its first old leaves: the consistency proof of RFC 6962, section 2.1.2,
// which a witness asks for. It is checked by [CheckExtension].
func (l *Log) ProveExtension(number, old, size uint64) ([]wire.Hash, error) {
	return l.prove(number, func(s *hashSource) ([]wire.Hash, error) { return s.proveExtension(old, size) })
}

// prove makes a proof from a log's tiles. Those of a closed log are held against
// its last checkpoint; where they fail, are gone, or were written by an older
// version, the journal is read.
func (l *Log) prove(number uint64, from func(*hashSource) ([]wire.Hash, error)) ([]wire.Hash, error) {
	source := l.running(number)
	if source != nil {
		return from(source)
	}
	source, err := l.ended(number)
	if err == nil {
		if proof, err := from(source); err == nil {
			return proof, nil
		}
	}
	if source, err = l.replayed(number); err != nil {
		return nil, err
	}
	return from(source)
}

// CheckLeaf checks a proof of [Log.ProveLeaf] that body is the encoded leaf at
// index in the log that the checkpoint is of.
func CheckLeaf(proof []wire.Hash, c wire.Checkpoint, index uint64, body []byte) error {
	if index >= c.Size || c.Size > 1<<62 {
		return fmt.Errorf("%w: leaf %d of %d", ErrProof, index, c.Size)
	}
	return tlog.CheckRecord(tlogHashes(proof), int64(c.Size), tlog.Hash(c.Root), int64(index), tlog.Hash(leafHash(body)))
}

// CheckExtension checks a proof of [Log.ProveExtension] that one checkpoint
// extends another of the same log.
func CheckExtension(proof []wire.Hash, old, c wire.Checkpoint) error {
	if old.Log != c.Log || old.Size == 0 || old.Size > c.Size || c.Size > 1<<62 {
		return fmt.Errorf("%w: from %d to %d leaves", ErrProof, old.Size, c.Size)
	}
	return tlog.CheckTree(tlogHashes(proof), int64(c.Size), tlog.Hash(c.Root), int64(old.Size), tlog.Hash(old.Root))
}

func hashes(p []tlog.Hash) []wire.Hash {
	out := make([]wire.Hash, len(p))
	for i, h := range p {
		out[i] = wire.Hash(h)
	}
	return out
}

func tlogHashes(p []wire.Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(p))
	for i, h := range p {
		out[i] = tlog.Hash(h)
	}
	return out
}

// hashSource gives the inner hashes of one log as it was at one moment.
type hashSource struct {
	fs        FS
	dir       string
	number    uint64
	tree      tree
	unwritten map[tileName][]wire.Hash
	doubted   bool // a full tile counts only if the one above has its root
}

func (l *Log) source(number uint64) *hashSource {
	return &hashSource{fs: l.fs, dir: l.o.Dir, number: number, unwritten: map[tileName][]wire.Hash{}}
}

// running is the source for the log that takes leaves, nil for another one.
func (l *Log) running(number uint64) *hashSource {
	l.state.Lock()
	defer l.state.Unlock()
	if l.state.number != number {
		return nil
	}
	s := l.source(number)
	s.tree.size = l.state.tree.size
	for _, p := range l.state.tree.partial {
		s.tree.partial = append(s.tree.partial, slices.Clone(p))
	}
	for name, h := range l.state.unwritten {
		s.unwritten[name] = h
	}
	return s
}

// errTiles says that a closed log's tiles are not those of its checkpoint.
var errTiles = errors.New("tiles don't match the checkpoint")

// ended is the source for a log that was closed in order, made of its checkpoint
// and of its tiles, the last and partial one of each level among them.
func (l *Log) ended(number uint64) (*hashSource, error) {
	signed, err := disk.ReadFile(l.fs, filepath.Join(numberDir(l.o.Dir, number), checkpointName), maxNote)
	if err != nil {
		return nil, err
	}
	c, err := ParseCheckpoint(signed, Origin(l.o.Domain, l.o.Server, number), l.key.public)
	if err != nil {
		return nil, err
	}
	s := l.source(number)
	s.doubted, s.tree.size = true, c.Size
	for level := 0; c.Size>>(tileHeight*level) > 0; level++ {
		width := c.Size >> (tileHeight * level) % tileWidth
		data, err := readTile(s.fs, tileFile(s.dir, number, level), c.Size>>(tileHeight*(level+1)), int(width))
		if err != nil {
			return nil, err
		}
		s.tree.partial = append(s.tree.partial, splitTile(data))
	}
	// Security: a tile is derived and unsigned; what it says holds if it hashes to
	// what the server signed.
	if root, err := tlog.TreeHash(int64(c.Size), s); err != nil || wire.Hash(root) != c.Root {
		return nil, errTiles
	}
	return s, nil
}

// replayed is the source for a closed log, made by reading it.
func (l *Log) replayed(number uint64) (*hashSource, error) {
	s := l.source(number)
	err := l.read(Position{Log: number}, func(kind entryKind, _ uint64, body []byte) error {
		if kind == entryLeaf {
			s.tree.append(leafHash(body))
		}
		return nil
	})
	for _, t := range s.tree.takeFull() {
		s.unwritten[tileName{t.level, t.number}] = t.hashes
	}
	return s, err
}

func (s *hashSource) proveLeaf(index, size uint64) ([]wire.Hash, error) {
	if index >= size || size > s.tree.size {
		return nil, fmt.Errorf("%w: leaf %d of log %d, of %d", ErrProof, index, s.number, size)
	}
	path, err := tlog.ProveRecord(int64(size), int64(index), s)
	return hashes(path), err
}

func (s *hashSource) proveExtension(old, size uint64) ([]wire.Hash, error) {
	if old == 0 || old > size || size > s.tree.size {
		return nil, fmt.Errorf("%w: of log %d from %d to %d leaves", ErrProof, s.number, old, size)
	}
	proof, err := tlog.ProveTree(int64(size), int64(old), s)
	return hashes(proof), err
}

// ReadHashes is tlog.HashReader.
func (s *hashSource) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		h, err := s.at(level, uint64(n))
		if err != nil {
			return nil, err
		}
		out[i] = tlog.Hash(h)
	}
	return out, nil
}

// at is the hash of the n-th full subtree of 2^level leaves: part of one tile,
// hashed together.
func (s *hashSource) at(level int, n uint64) (wire.Hash, error) {
	up := level % tileHeight
	first := n << up
	tile, err := s.tile(tileName{level / tileHeight, first / tileWidth})
	if err != nil {
		return wire.Hash{}, err
	}
	from := int(first % tileWidth)
	if from+1<<up > len(tile) {
		return wire.Hash{}, fmt.Errorf("%w: beyond the tree", ErrProof)
	}
	return rootOf(tile[from : from+1<<up]), nil
}

func (s *hashSource) tile(name tileName) ([]wire.Hash, error) {
	if h := s.unwritten[name]; h != nil {
		return h, nil
	}
	full := s.tree.size >> (tileHeight * (name.level + 1))
	if name.number < full {
		data, err := readTile(s.fs, tileFile(s.dir, s.number, name.level), name.number, tileWidth)
		if err != nil {
			return nil, err
		}
		hashes := splitTile(data)
		return hashes, s.vouch(name, hashes)
	}
	if name.level < len(s.tree.partial) {
		return s.tree.partial[name.level], nil
	}
	return nil, nil
}

// vouch holds a full tile of a closed log against the one above it, up to the
// partial ones, which were held against the checkpoint.
func (s *hashSource) vouch(name tileName, hashes []wire.Hash) error {
	if !s.doubted {
		return nil
	}
	above, err := s.tile(tileName{name.level + 1, name.number / tileWidth})
	if err != nil {
		return err
	}
	at := name.number % tileWidth
	if at >= uint64(len(above)) || above[at] != rootOf(hashes) {
		return errTiles
	}
	return nil
}
