// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"claviger/internal/audit/disk"
	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

// TestProofs proves leaves and extensions of a log whose older tiles are in
// files and whose last ones are not, running and closed.
func TestProofs(t *testing.T) {
	o := testOptions(newMem(51))
	o.MaxBytes = 300 << 10
	l := mustOpen(t, o)
	var last Ticket
	var marks []wire.Checkpoint
	for i := 0; ; i++ {
		at, ticket, err := l.Enter(testLeaf(i))
		if err != nil {
			t.Fatal(err)
		}
		if last = ticket; at.Log > 1 {
			break
		}
		if i == 3 || i == 255 || i == 600 {
			if err := ticket.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := l.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			marks = append(marks, c.Checkpoint)
			checkProofs(t, l, marks)
		}
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkProofs(t, l, marks) // of a closed log now
	mustClose(t, l)
	l = mustOpen(t, o)
	checkProofs(t, l, marks)
	mustClose(t, l)
}

func checkProofs(t *testing.T, l *Log, marks []wire.Checkpoint) {
	t.Helper()
	for _, c := range marks {
		entries := all(t, l, c.Log)
		for _, index := range []uint64{0, 1, c.Size / 2, c.Size - 1} {
			proof, err := l.ProveLeaf(Position{Log: c.Log, Index: index}, c.Size)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := entries[index].Leaf.encode()
			if err := CheckLeaf(proof, c, index, body); err != nil {
				t.Errorf("leaf %d of %d: %v", index, c.Size, err)
			}
			if err := CheckLeaf(proof, c, index, append(body, 0)); err == nil {
				t.Errorf("leaf %d of %d: another body is proved", index, c.Size)
			}
			if err := CheckLeaf(proof, c, index+1, body); err == nil {
				t.Errorf("leaf %d of %d is proved at the next index", index, c.Size)
			}
		}
		if _, err := l.ProveLeaf(Position{Log: c.Log, Index: c.Size}, c.Size); !errors.Is(err, ErrProof) {
			t.Errorf("leaf beyond %d: %v", c.Size, err)
		}
		for _, old := range marks {
			proof, err := l.ProveExtension(c.Log, old.Size, c.Size)
			if old.Size > c.Size {
				if !errors.Is(err, ErrProof) {
					t.Errorf("backwards: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckExtension(proof, old, c); err != nil {
				t.Errorf("from %d to %d: %v", old.Size, c.Size, err)
			}
			fork := old
			fork.Root[0] ^= 1
			if err := CheckExtension(proof, fork, c); err == nil {
				t.Errorf("from a fork of %d to %d", old.Size, c.Size)
			}
		}
	}
	if _, err := l.ProveExtension(1, 1, 1<<40); !errors.Is(err, ErrProof) {
		t.Errorf("beyond the log: %v", err)
	}
	if err := CheckExtension(nil, wire.Checkpoint{Log: 1, Size: 1}, wire.Checkpoint{Log: 2, Size: 1}); !errors.Is(err, ErrProof) {
		t.Errorf("from one log to another: %v", err)
	}
	if err := CheckLeaf(nil, wire.Checkpoint{Log: 1, Size: 1}, 1, nil); !errors.Is(err, ErrProof) {
		t.Errorf("leaf beyond the checkpoint: %v", err)
	}
}

// TestProofsOfClosedLogs are made from a few tiles, without a look at the journal;
// what was changed in those is noticed, and the journal is read.
func TestProofsOfClosedLogs(t *testing.T) {
	fsys := newMem(56)
	o := testOptions(fsys)
	o.MaxBytes = 700 << 10
	l := mustOpen(t, o)
	defer mustClose(t, l)
	for at := (Position{}); at.Log < 2; {
		var ticket Ticket
		var err error
		if at, ticket, err = l.Enter(testLeaf(1)); err == nil && at.Index%500 == 0 {
			err = ticket.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, l, testLeaf(2))
	signed, err := disk.ReadFile(fsys, filepath.Join(numberDir(testDir, 1), checkpointName), maxNote)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCheckpoint(signed, Origin(testDomain, testServer, 1), testKey.Public().(ed25519.PublicKey))
	if err != nil || c.Size < 2*tileWidth+2 {
		t.Fatalf("%d leaves, %v", c.Size, err)
	}
	c.Log = 1
	s, err := l.replayed(1)
	if err != nil {
		t.Fatal(err)
	}
	root, err := tlog.TreeHash(int64(c.Size/2), s)
	if err != nil {
		t.Fatal(err)
	}
	marks := []wire.Checkpoint{{Log: 1, Size: c.Size / 2, Root: wire.Hash(root)}, c.Checkpoint}
	reads := countReads(fsys, journalOne, func() { proveAll(t, l, marks) })
	if reads != 0 {
		t.Errorf("the journal was read %d times", reads)
	}
	for _, offset := range []int{5, tileSize + 5, int(c.Size/tileWidth)*tileSize + 5} { // the last one is not full
		flip(t, fsys, tileFile(testDir, 1, 0), offset)
		if reads := countReads(fsys, journalOne, func() { proveAll(t, l, marks) }); reads == 0 {
			t.Errorf("byte %d of the tiles is changed: proofs are made without the journal", offset)
		}
		flip(t, fsys, tileFile(testDir, 1, 0), offset)
	}
}

// flip changes a bit of a file, or changes it back.
func flip(t *testing.T, fsys FS, name string, offset int) {
	t.Helper()
	f, err := fsys.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], int64(offset)); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], int64(offset)); err != nil {
		t.Fatal(err)
	}
}

// proveAll makes and checks proofs that between them need every tile.
func proveAll(t *testing.T, l *Log, marks []wire.Checkpoint) {
	t.Helper()
	body, err := func() ([]byte, error) { leaf := l.stamp(testLeaf(1)); return leaf.encode() }()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range marks {
		for _, index := range []uint64{1, tileWidth + 3, c.Size - 1} {
			proof, err := l.ProveLeaf(Position{Log: 1, Index: index}, c.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckLeaf(proof, c, index, body); err != nil {
				t.Errorf("leaf %d of %d: %v", index, c.Size, err)
			}
		}
	}
	proof, err := l.ProveExtension(1, marks[0].Size, marks[1].Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckExtension(proof, marks[0], marks[1]); err != nil {
		t.Error(err)
	}
}

// countReads says how often a file was read in f.
func countReads(fsys memFS, name string, f func()) int {
	var n atomic.Int64
	fsys.SetFault(func(op faultfs.Op) error {
		if op.Kind == faultfs.Read && filepath.Clean(op.Name) == filepath.Clean(name) {
			n.Add(1)
		}
		return nil
	})
	f()
	fsys.SetFault(nil)
	return int(n.Load())
}
