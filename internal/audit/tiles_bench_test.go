// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"claviger/internal/wire"
)

// tileLeaves is the size of the log that BenchmarkProve proves leaves of; bench-big
// has a hundred million, which takes 3.3 GB of disk.
var tileLeaves = flag.Int("leaves", 1<<20, "leaves of the log that proofs are made of")

// grown is a log of so many synthetic leaves whose full tiles lie in files, and its
// root.
func grown(tb testing.TB, leaves int) (*hashSource, wire.Checkpoint) {
	tb.Helper()
	s := &hashSource{fs: OS(), dir: tb.TempDir(), number: 1, unwritten: map[tileName][]wire.Hash{}}
	if err := os.MkdirAll(numberDir(s.dir, 1), 0o700); err != nil {
		tb.Fatal(err)
	}
	files := tileStore{fs: s.fs, dir: s.dir, number: 1}
	for i := range leaves {
		s.tree.append(leafHash(synthetic(uint64(i))))
		if i%tileWidth != tileWidth-1 {
			continue
		}
		for _, t := range s.tree.takeFull() {
			if err := files.put(tileName{t.level, t.number}, t.hashes); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := files.close(); err != nil {
		tb.Fatal(err)
	}
	return s, wire.Checkpoint{Log: 1, Size: s.tree.size, Root: s.tree.root()}
}

// synthetic is the body of a leaf that only has its index.
func synthetic(index uint64) []byte { return binary.BigEndian.AppendUint64([]byte("leaf "), index) }

// TestProveGrown: what BenchmarkProve measures are proofs.
func TestProveGrown(t *testing.T) {
	for _, leaves := range []int{1, 255, 256, 65_536, 70_001} {
		s, c := grown(t, leaves)
		for _, index := range []int{0, leaves / 3, leaves - 1} {
			proof, err := s.proveLeaf(uint64(index), c.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckLeaf(proof, c, uint64(index), synthetic(uint64(index))); err != nil {
				t.Errorf("leaf %d of %d: %v", index, leaves, err)
			}
			if err := CheckLeaf(proof, c, uint64(index), synthetic(uint64(index+1))); err == nil {
				t.Errorf("leaf %d of %d: another body is proved", index, leaves)
			}
		}
	}
}

// BenchmarkProve proves leaves at random places of a large log from its tiles, and
// checks each proof; what lies in the page cache is read from there.
func BenchmarkProve(b *testing.B) {
	s, c := grown(b, *tileLeaves)
	stored := 0.0
	for level := range s.tree.partial {
		info, err := os.Stat(tileFile(s.dir, 1, level))
		if os.IsNotExist(err) {
			break
		} else if err != nil {
			b.Fatal(err)
		}
		stored += float64(info.Size())
	}
	place := rand.New(rand.NewPCG(1, 1))
	b.Run("leaf", func(b *testing.B) {
		for b.Loop() {
			index := place.Uint64N(c.Size)
			proof, err := s.proveLeaf(index, c.Size)
			if err == nil {
				err = CheckLeaf(proof, c, index, synthetic(index))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(c.Size), "leaves")
		b.ReportMetric(stored/float64(c.Size), "tile-B/leaf")
	})
	b.Run("extension", func(b *testing.B) {
		for b.Loop() {
			old := 1 + place.Uint64N(c.Size)
			if _, err := s.proveExtension(old, c.Size); err != nil {
				b.Fatal(err)
			}
		}
	})
}
