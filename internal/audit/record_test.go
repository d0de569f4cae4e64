// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"claviger/internal/audit/attributes"
	"claviger/internal/wire"
)

// TestLeafRecord: a leaf brings its attribute record along; the log stores it once
// in each number, before the leaf, and gives it back.
func TestLeafRecord(t *testing.T) {
	fsys := newMem(5)
	o := testOptions(fsys)
	o.MaxBytes = 6 << 10
	l := mustOpen(t, o)
	defer mustClose(t, l)
	record, err := attributes.Of("Subject", map[string]any{"kind": "xks", "account": "1"}, map[string]string{"kmsOperation": "Encrypt"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	hash := wire.Hash(sha256.Sum256(data))
	other := []byte("another record, that was in the log before")
	if _, err := l.Blob(other); err != nil {
		t.Fatal(err)
	}
	var last Position
	for i := range 60 {
		leaf := testLeaf(i)
		leaf.Attributes = []wire.Hash{wire.Hash(sha256.Sum256(other))}
		leaf.Record = data
		last = put(t, l, leaf)
		if len(leaf.Attributes) != 1 {
			t.Fatal("the caller's leaf changed")
		}
	}
	if last.Log < 3 {
		t.Fatalf("still in log %d", last.Log)
	}
	for e, err := range l.Leaves(Position{Log: last.Log, Index: last.Index}, 1) {
		if err != nil || len(e.Leaf.Attributes) != 2 || e.Leaf.Attributes[1] != hash || e.Leaf.Record != nil {
			t.Errorf("leaf %+v, %v", e.Leaf, err)
		}
	}
	for number := uint64(1); number <= last.Log; number++ {
		copies, named := 0, 0
		err := l.read(Position{Log: number}, func(kind entryKind, _ uint64, body []byte) error {
			switch {
			case kind == entryBlob && bytes.Equal(body, data):
				copies++
			case kind == entryLeaf && bytes.Contains(body, hash[:]):
				if named++; copies == 0 {
					t.Errorf("log %d names the record before it has it", number)
				}
			}
			return nil
		})
		if err != nil || copies != 1 || named == 0 {
			t.Errorf("log %d holds %d copies for %d leaves, %v", number, copies, named, err)
		}
	}
	if back, err := l.ReadBlob(hash); err != nil || !bytes.Equal(back, data) {
		t.Errorf("read back: %v", err)
	}
	huge := testLeaf(1)
	huge.Record = make([]byte, attributes.MaxRecord+1)
	if _, _, err := l.Enter(huge); !errors.Is(err, ErrLeaf) {
		t.Errorf("a huge record: %v", err)
	}
}

// TestManyRecords: callers that each prove something else fill a number and not the
// memory, and each number still reads alone.
func TestManyRecords(t *testing.T) {
	o := testOptions(newMem(6))
	o.MaxBlobs = 8
	l := mustOpen(t, o)
	defer mustClose(t, l)
	var last Position
	for i := range 100 {
		leaf := testLeaf(i)
		leaf.Record = fmt.Appendf(nil, "record %d", i)
		last = put(t, l, leaf)
		if len(l.blobs) > 9 || len(l.older) > 9 {
			t.Fatalf("%d and %d blobs in memory", len(l.blobs), len(l.older))
		}
	}
	if last.Log < 10 {
		t.Fatalf("still in log %d", last.Log)
	}
	for number := uint64(1); number <= last.Log; number++ {
		have := map[wire.Hash]bool{}
		for e, err := range l.Leaves(Position{Log: number}, 1000) {
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range e.Leaf.Attributes {
				have[h] = true
			}
		}
		if err := l.read(Position{Log: number}, func(kind entryKind, _ uint64, body []byte) error {
			if kind == entryBlob {
				delete(have, sha256.Sum256(body))
			}
			return nil
		}); err != nil || len(have) > 0 {
			t.Errorf("log %d names %d blobs that it hasn't, %v", number, len(have), err)
		}
	}
}
