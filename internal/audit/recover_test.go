// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"testing"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

var journalOne = filepath.Join(numberDir(testDir, 1), journalName)

// fill makes a closed log of a few batches and returns where each begins.
func fill(t *testing.T, fsys memFS, leaves int) []int {
	t.Helper()
	l := mustOpen(t, testOptions(fsys))
	var offsets []int
	for i := range leaves {
		offsets = append(offsets, int(l.journal.offset))
		put(t, l, testLeaf(i))
	}
	mustClose(t, l)
	return offsets
}

// TestDamageIsNotTorn: rot before the tail is never cut away; the log is left
// as it is and the next number begins.
func TestDamageIsNotTorn(t *testing.T) {
	fsys := newMem(15)
	offsets := fill(t, fsys, 5)
	size, _ := disk.ReadFile(fsys, journalOne, 1<<20)
	if !fsys.Damage(journalOne, offsets[2]+batchSize+9) {
		t.Fatal("nothing to damage")
	}
	l := mustOpen(t, testOptions(fsys))
	if l.opening.Number != 2 || l.opening.GivenUp == "" || l.opening.Cut != 0 {
		t.Fatalf("opening %+v", l.opening)
	}
	first := all(t, l, 2)[0].Leaf
	if first.Kind != Start || first.Previous.Number != 1 || first.Previous.Size != 3 || first.Reason != l.opening.GivenUp {
		t.Errorf("start leaf %+v", first)
	}
	after, _ := disk.ReadFile(fsys, journalOne, 1<<20)
	if len(after) != len(size) {
		t.Error("the damaged journal was changed")
	}
	mustClose(t, l)
	l = mustOpen(t, testOptions(fsys))
	if l.opening != (Opening{Number: 2}) {
		t.Errorf("opened again: %+v", l.opening)
	}
	mustClose(t, l)
}

// TestDamagedHeader: likewise for the header.
func TestDamagedHeader(t *testing.T) {
	fsys := newMem(16)
	fill(t, fsys, 2)
	fsys.Damage(journalOne, 20)
	l := mustOpen(t, testOptions(fsys))
	if l.opening.Number != 2 || l.opening.GivenUp == "" {
		t.Errorf("opening %+v", l.opening)
	}
	mustClose(t, l)
}

// cut shortens the journal as a restored backup would: whole batches are gone.
func cut(t *testing.T, fsys memFS, size int) {
	t.Helper()
	f, err := fsys.Open(journalOne, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(size)), f.Sync()); err != nil {
		t.Fatal(err)
	}
}

// TestShorterThanSigned: a log that lacks leaves which its own checkpoint or
// its anchor counts is never continued.
func TestShorterThanSigned(t *testing.T) {
	fsys := newMem(17)
	offsets := fill(t, fsys, 5)
	checkpoint := filepath.Join(numberDir(testDir, 1), checkpointName)
	signed, _ := disk.ReadFile(fsys, checkpoint, maxNote)
	c, err := ParseCheckpoint(signed, Origin(testDomain, testServer, 1), testKey.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	cut(t, fsys, offsets[3])
	l := mustOpen(t, testOptions(fsys))
	if l.opening.Number != 2 || l.opening.GivenUp == "" {
		t.Errorf("shorter than its checkpoint: %+v", l.opening)
	}
	mustClose(t, l)

	// The same without the checkpoint, as a whole directory restored would be.
	for name, anchor := range map[string]wire.Checkpoint{
		"shorter":   {Log: 1, Size: c.Size, Root: c.Root},
		"different": {Log: 1, Size: 3, Root: wire.Hash{1}},
		"missing":   {Log: 4, Size: 9, Root: wire.Hash{2}},
		"no root":   {Log: 1, Size: 1000},
	} {
		fsys := newMem(18)
		offsets := fill(t, fsys, 5)
		cut(t, fsys, offsets[3])
		if err := fsys.Rename(checkpoint, filepath.Join(testDir, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		o := testOptions(fsys)
		o.Anchor = &anchor
		l := mustOpen(t, o)
		if l.opening.Number != anchor.Log+1 || l.opening.GivenUp == "" {
			t.Errorf("%s: %+v", name, l.opening)
		}
		if p := all(t, l, l.opening.Number)[0].Leaf.Previous; p.Number != anchor.Log {
			t.Errorf("%s: start leaf names %+v", name, p)
		}
		mustClose(t, l)
	}
}

// TestAnchorHolds: an anchor that the log extends changes nothing, wherever in
// a batch it lies.
func TestAnchorHolds(t *testing.T) {
	fsys := newMem(19)
	l := mustOpen(t, testOptions(fsys))
	put(t, l, testLeaf(1))
	c, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	put(t, l, testLeaf(2))
	mustClose(t, l)
	o := testOptions(fsys)
	o.Anchor = &c.Checkpoint
	l = mustOpen(t, o)
	if l.opening != (Opening{Number: 1}) {
		t.Errorf("%+v", l.opening)
	}
	mustClose(t, l)
	// An anchor of a directory that is gone: the number isn't used again.
	o.FS = newMem(20)
	l = mustOpen(t, o)
	if l.opening.Number != 2 || l.opening.GivenUp == "" {
		t.Errorf("lost directory: %+v", l.opening)
	}
	mustClose(t, l)
}

// TestForgedCheckpointFile: a checkpoint that the server's key didn't sign is
// damage.
func TestForgedCheckpointFile(t *testing.T) {
	fsys := newMem(21)
	fill(t, fsys, 2)
	name := filepath.Join(numberDir(testDir, 1), checkpointName)
	signed, _ := disk.ReadFile(fsys, name, maxNote)
	if err := disk.WriteFile(fsys, name, bytes.Replace(signed, []byte("\n4\n"), []byte("\n3\n"), 1)); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, testOptions(fsys))
	if l.opening.Number != 2 || l.opening.GivenUp == "" {
		t.Errorf("%+v", l.opening)
	}
	mustClose(t, l)
}

// TestTilesAreMadeAgain: full tiles are files, and Open repairs them.
func TestTilesAreMadeAgain(t *testing.T) {
	fsys := newMem(22)
	l := mustOpen(t, testOptions(fsys))
	var tickets []Ticket
	for i := range 2*tileWidth + 3 {
		_, ticket, err := l.Enter(testLeaf(i))
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	name := tileFile(testDir, 1, 0)
	want, err := disk.ReadFile(fsys, name, 1<<20)
	if err != nil || len(want) != 2*tileSize {
		t.Fatalf("tiles of %d bytes, %v", len(want), err)
	}
	f, err := fsys.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rot"), tileSize+100); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, testOptions(fsys)))
	if got, _ := disk.ReadFile(fsys, name, 1<<20); !bytes.Equal(got, want) {
		t.Error("a damaged tile stays")
	}
	if got := tilePath(3, 1234067, 7); got != "tile/3/x001/x234/067.p/7" {
		t.Errorf("path %s", got)
	}
	if got := tilePath(-1, 0, tileWidth); got != "tile/entries/000" {
		t.Errorf("path %s", got)
	}
}
