// SPDX-License-Identifier: Apache-2.0

package auditpage

import (
	"errors"
	"iter"
	"testing"

	"claviger/internal/audit"
	"claviger/internal/wire"
)

var errDisk = errors.New("the disk")

// fake is a log 2 whose leaves name a record each by turns.
type fake struct {
	known   map[wire.Hash]bool
	read    int
	numbers error
	broken  bool
}

func (f *fake) Numbers() ([]uint64, error) { return []uint64{1, 2}, f.numbers }

func (f *fake) Leaves(from audit.Position, n uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for i := range n {
			l := &audit.Leaf{Attributes: []wire.Hash{{byte(i%3 + 1)}}}
			if i%4 == 3 {
				l.Attributes = nil
			}
			var err error
			if f.broken && i == 5 {
				err = errDisk
			}
			if !yield(audit.Entry{Position: audit.Position{Log: from.Log, Index: from.Index + i}, Leaf: l}, err) {
				return
			}
		}
	}
}

func (f *fake) Known(h wire.Hash) bool { return f.known[h] }

func (f *fake) ReadBlob(h wire.Hash) ([]byte, error) {
	f.read++
	if h == (wire.Hash{2}) && f.broken {
		return nil, errDisk
	}
	return []byte{h[0]}, nil
}

// TestRead: each leaf with its record, each record read once, and none that would
// have to be searched for.
func TestRead(t *testing.T) {
	f := &fake{known: map[wire.Hash]bool{{1}: true, {2}: true}}
	entries, err := Read(f, audit.Position{Log: 2, Index: 7}, Most+500)
	if err != nil || len(entries) != Most || f.read != 2 {
		t.Fatalf("%d entries, %d blobs read, %v", len(entries), f.read, err)
	}
	for i, e := range entries {
		want := ""
		if i%4 != 3 && i%3 != 2 {
			want = string([]byte{byte(i%3 + 1)})
		}
		if string(e.Leaf.Record) != want || e.Position.Index != uint64(7+i) {
			t.Fatalf("leaf %d: record %q", i, e.Leaf.Record)
		}
	}
}

func TestReadFails(t *testing.T) {
	if _, err := Read(&fake{}, audit.Position{Log: 3}, 10); !errors.Is(err, ErrNumber) {
		t.Errorf("no such log: %v", err)
	}
	for name, f := range map[string]*fake{
		"the numbers": {numbers: errDisk}, "a leaf": {broken: true}, "a record": {broken: true, known: map[wire.Hash]bool{{2}: true}},
	} {
		if out, err := Read(f, audit.Position{Log: 2}, 10); !errors.Is(err, errDisk) || out != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
