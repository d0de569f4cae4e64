// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"testing"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

// extremes is a leaf whose every field has a value that takes the longest form
// for its kind, within the bounds.
func extremes() Leaf {
	leaf := testLeaf(1)
	leaf.Shape, leaf.Time, leaf.Kind = leafShape, math.MaxInt64, Start
	leaf.Item, leaf.Version, leaf.Lease, leaf.Count = 24, 256, 1<<16, math.MaxUint64
	leaf.Epoch = wire.Epoch{Generation: 23, Position: 255}
	leaf.Of = Position{Log: 65535, Index: 1 << 32}
	leaf.Previous = End{Number: 1<<32 - 1, Size: 3, Root: wire.Hash{4}}
	leaf.Attributes = []wire.Hash{{1}, {2}}
	leaf.Schema, leaf.PolicySet = wire.Hash{5}, wire.Hash{6}
	leaf.Stated, leaf.Reason = "why", "because"
	leaf.Policies = []string{"a", "b"}
	return leaf
}

// TestEncodeAgainstWire: the quick encoder and the general one agree.
func TestEncodeAgainstWire(t *testing.T) {
	for _, leaf := range []Leaf{{}, testLeaf(1), extremes(), {Time: -1}, {Time: math.MinInt64}} {
		if got, want := leaf.appendCBOR(nil), wire.Marshal(&leaf); !bytes.Equal(got, want) {
			t.Errorf("%+v:\n%x\n%x", leaf, got, want)
		}
	}
}

// FuzzLeaf: whatever parses as a leaf is encoded to the same bytes by both
// encoders, and is a leaf that the log would take.
func FuzzLeaf(f *testing.F) {
	for _, leaf := range []Leaf{testLeaf(1), extremes()} {
		leaf.Shape = leafShape
		leaf.Time = max(leaf.Time, 1)
		f.Add(leaf.appendCBOR(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		leaf, err := ParseLeaf(data)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, ErrLeaf) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		body, err := leaf.encode()
		if err != nil || !bytes.Equal(body, data) {
			t.Errorf("encodes to %x, %v", body, err)
		}
	})
}

// FuzzJournal: no bytes in a journal make recovery fail, panic or lose track;
// what it recovers it can continue and read.
func FuzzJournal(f *testing.F) {
	fsys := newMem(41)
	l := mustOpen(f, testOptions(fsys))
	hash, err := l.Blob([]byte("blob"))
	if err != nil {
		f.Fatal(err)
	}
	leaf := testLeaf(1)
	leaf.PolicySet = hash
	put(f, l, leaf)
	mustClose(f, l)
	good, err := disk.ReadFile(fsys, journalOne, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-7])
	f.Add(good[:headerSize])
	f.Add(append(bytes.Clone(good), batchMagic...))
	f.Add(append(bytes.Clone(good), make([]byte, 100)...))
	f.Add(append(append(bytes.Clone(good), make([]byte, 50)...), batchMagic...))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := newMem(42)
		if err := fsys.MkdirAll(numberDir(testDir, 1)); err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFile(fsys, journalOne, data); err != nil {
			t.Fatal(err)
		}
		l, err := Open(testOptions(fsys))
		if errors.Is(err, ErrConfig) {
			return // another's header
		}
		if err != nil {
			t.Fatal(err)
		}
		at := put(t, l, testLeaf(2))
		found := false
		for e, err := range l.Leaves(Position{Log: at.Log}, 1<<40) {
			if err != nil && !errors.Is(err, ErrLeaf) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			if err != nil {
				return // whole batches of bytes that are no leaves
			}
			found = found || e.Position == at
		}
		if !found {
			t.Errorf("leaf %s isn't there", at)
		}
		mustClose(t, l)
	})
}

// FuzzEntries: a payload is split into what it was made of, or refused.
func FuzzEntries(f *testing.F) {
	f.Add(appendEntry(appendEntry(nil, entryLeaf, []byte("leaf")), entryBlob, []byte("blob")))
	f.Add([]byte{1, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again []byte
		err := entries(payload, func(kind entryKind, offset int, body []byte) error {
			if !bytes.Equal(payload[offset:offset+len(body)], body) {
				t.Fatal("offset")
			}
			again = appendEntry(again, kind, body)
			return nil
		})
		if err == nil && !bytes.Equal(again, payload) {
			t.Errorf("%x became %x", payload, again)
		}
		if err != nil && !errors.Is(err, errTorn) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

// FuzzArchive: no bytes make the verifier panic or find an altered log right.
func FuzzArchive(f *testing.F) {
	l := mustOpen(f, testOptions(newMem(43)))
	_, ticket, err := l.Enter(testLeaf(1))
	if err == nil {
		err = ticket.Wait(context.Background())
	}
	if err != nil {
		f.Fatal(err)
	}
	archive := export(f, l)
	want, err := l.Checkpoint()
	if err != nil {
		f.Fatal(err)
	}
	mustClose(f, l)
	f.Add(archive)
	f.Add(archive[:1024])
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := Verify(testVerifyOptions(), bytes.NewReader(data))
		if err != nil && !errors.Is(err, ErrArchive) {
			t.Errorf("error of another kind: %v", err)
		}
		if err != nil || !report.OK() {
			return
		}
		for _, got := range report.Logs {
			if got.Root != want.Root || got.Size != want.Size {
				t.Errorf("believed %+v", got)
			}
		}
	})
}

// FuzzCheckpoint: only the signed checkpoint is believed.
func FuzzCheckpoint(f *testing.F) {
	l := mustOpen(f, testOptions(newMem(44)))
	c, err := l.Checkpoint()
	if err != nil {
		f.Fatal(err)
	}
	mustClose(f, l)
	f.Add(c.Note)
	f.Add([]byte(checkpointText("x", 1, c.Root)))
	public := testVerifyOptions().Keys[testServer]
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseCheckpoint(data, Origin(testDomain, testServer, 1), public)
		if err == nil && (got.Size != c.Size || got.Root != c.Root) {
			t.Errorf("believed %+v", got.Checkpoint)
		}
	})
}

// TestReaderLimits: lengths that lie are refused before anything is allocated.
func TestReaderLimits(t *testing.T) {
	id := identity{testDomain, testServer, 1}
	header := id.header()
	for name, c := range map[string]struct {
		length uint32
		size   int64 // that the file claims
	}{
		"beyond the file":  {100, headerSize + batchSize},
		"beyond the limit": {maxPayload + 1, 1 << 40},
		"largest":          {math.MaxUint32, 1 << 40},
	} {
		length := c.length
		b := make([]byte, batchSize)
		sealBatch(b, checksum(header), 0, 0)
		b[24], b[25], b[26], b[27] = byte(length>>24), byte(length>>16), byte(length>>8), byte(length)
		data := append(bytes.Clone(header), b...)
		r, err := newReader(bytes.NewReader(data), c.size, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.next(); !errors.Is(err, errTorn) || cap(r.buf) > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, cap(r.buf))
		}
	}
	r, err := newReader(bytes.NewReader(header), headerSize, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.next(); !errors.Is(err, io.EOF) {
		t.Errorf("empty journal: %v", err)
	}
}

// TestReaderOrder: a whole batch at another place than its own isn't taken.
func TestReaderOrder(t *testing.T) {
	id := identity{testDomain, testServer, 1}
	for name, c := range map[string]struct{ sequence, first uint64 }{"sequence": {1, 0}, "first leaf": {0, 1}} {
		b := appendEntry(make([]byte, batchSize), entryLeaf, []byte("x"))
		sealBatch(b, checksum(id.header()), c.sequence, c.first)
		data := append(id.header(), b...)
		r, err := newReader(bytes.NewReader(data), int64(len(data)), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.next(); !errors.Is(err, errTorn) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nor is one of another journal, by its checksum.
	other := id
	other.number = 2
	b := appendEntry(make([]byte, batchSize), entryLeaf, []byte("x"))
	sealBatch(b, checksum(other.header()), 0, 0)
	data := append(id.header(), b...)
	r, err := newReader(bytes.NewReader(data), int64(len(data)), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.next(); !errors.Is(err, errTorn) {
		t.Errorf("another journal's batch: %v", err)
	}
}
