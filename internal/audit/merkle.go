// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"

	"claviger/internal/wire"
)

// tileWidth is the number of hashes in a full tile (C2SP tlog-tiles).
const tileWidth = 256

// tileHeight is the number of tree levels that a tile spans.
const tileHeight = 8

// leafHash is the hash of a leaf's bytes (RFC 6962, section 2.1).
func leafHash(body []byte) wire.Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(body)
	var out wire.Hash
	h.Sum(out[:0])
	return out
}

// nodeHash is the hash of an inner node (RFC 6962, section 2.1).
func nodeHash(left, right wire.Hash) wire.Hash {
	var buf [1 + 2*sha256.Size]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+sha256.Size:], right[:])
	return sha256.Sum256(buf[:])
}

// tree grows a Merkle tree leaf by leaf. It keeps the roots of the full
// subtrees from left to right, and the hashes of the tiles that are not full
// yet: what a proof needs beside the full tiles.
//
// Invariant: len(edge) is the number of ones in size; the i-th edge root
// belongs to the i-th highest one.
type tree struct {
	size    uint64
	edge    []wire.Hash
	partial [][]wire.Hash // by tile level: the hashes of its last, partial tile
	full    []fullTile    // full tiles that nobody has taken yet
}

// fullTile is a tile of 256 hashes.
type fullTile struct {
	level  int
	number uint64
	hashes []wire.Hash
}

// append adds a leaf's hash.
func (t *tree) append(h wire.Hash) {
	t.record(0, h)
	level := 0
	for s := t.size; s&1 == 1; s >>= 1 {
		last := len(t.edge) - 1
		h = nodeHash(t.edge[last], h)
		t.edge = t.edge[:last]
		level++
		if level%tileHeight == 0 {
			t.record(level/tileHeight, h)
		}
	}
	t.edge = append(t.edge, h)
	t.size++
}

// record adds a hash to the last tile of a tile level.
func (t *tree) record(level int, h wire.Hash) {
	if level == len(t.partial) {
		t.partial = append(t.partial, nil)
	}
	t.partial[level] = append(t.partial[level], h)
	if len(t.partial[level]) < tileWidth {
		return
	}
	number := t.size >> (tileHeight * (level + 1))
	t.full = append(t.full, fullTile{level, number, t.partial[level]})
	t.partial[level] = nil
}

// takeFull returns the tiles that have become full since the last call.
func (t *tree) takeFull() []fullTile {
	full := t.full
	t.full = nil
	return full
}

// root is the Merkle tree hash; that of no leaves is the hash of nothing.
func (t *tree) root() wire.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = nodeHash(t.edge[i], h)
	}
	return h
}
