// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"testing"

	"claviger/internal/audit/disk"
)

// journalBytes is the current journal file, room included.
func journalBytes(t *testing.T, fsys FS) []byte {
	t.Helper()
	data, err := disk.ReadFile(fsys, journalOne, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// killed makes a log of some leaves and loses power, so that zeros stand after its
// last batch. It returns what the disk has and where each batch begins.
func killed(t *testing.T, seed uint64, leaves int) (memFS, []int64) {
	t.Helper()
	fsys := newMem(seed)
	l := mustOpen(t, testOptions(fsys))
	var offsets []int64
	for i := range leaves {
		offsets = append(offsets, l.journal.offset)
		put(t, l, testLeaf(i))
	}
	offsets = append(offsets, l.journal.offset)
	return memFS{fsys.Crash(seed)}, offsets
}

// TestZerosAreTheEnd: zeros that were written ahead are neither a torn tail nor
// damage, and what is read while the log goes on ends before them.
func TestZerosAreTheEnd(t *testing.T) {
	fsys, offsets := killed(t, 51, 5)
	end := offsets[len(offsets)-1]
	if data := journalBytes(t, fsys); int64(len(data)) <= end || len(bytes.Trim(data[end:], "\x00")) > 0 {
		t.Fatalf("%d bytes, the last batch ends at %d: no zeros stand ahead", len(data), end)
	}
	l := mustOpen(t, testOptions(fsys))
	if l.opening != (Opening{Number: 1}) {
		t.Errorf("opening %+v", l.opening)
	}
	put(t, l, testLeaf(9))
	if got := kinds(all(t, l, 1)); got != "start decision decision decision decision decision start decision" {
		t.Errorf("leaves: %s", got)
	}
	mustClose(t, l)
	if data := journalBytes(t, fsys); int64(len(data)) != l.journal.offset {
		t.Errorf("a closed journal has %d bytes, its last batch ends at %d", len(data), l.journal.offset)
	}
}

// TestZeroedBatchIsDamage: where a whole batch follows, zeros are no end. A disk
// that lost a block must not make the log forget what stands after it.
func TestZeroedBatchIsDamage(t *testing.T) {
	fsys, offsets := killed(t, 52, 5)
	f, err := fsys.Open(journalOne, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, offsets[3]-offsets[2]), offsets[2]); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, testOptions(fsys))
	defer mustClose(t, l)
	if l.opening.Number != 2 || l.opening.GivenUp == "" || l.opening.Cut != 0 {
		t.Errorf("opening %+v", l.opening)
	}
}

// TestTornAmongZeros: a batch that was being written when power was lost is cut,
// the zeros after it count for nothing, and none of its bytes stay behind.
func TestTornAmongZeros(t *testing.T) {
	fsys, offsets := killed(t, 53, 3)
	end := offsets[len(offsets)-1]
	f, err := fsys.Open(journalOne, false)
	if err != nil {
		t.Fatal(err)
	}
	half := append([]byte(batchMagic), make([]byte, 30<<10)...)
	half = append(half, "half of it"...)
	if _, err := f.WriteAt(append(half, 0, 0, 0), end); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, testOptions(fsys))
	if l.opening != (Opening{Number: 1, Cut: int64(len(half))}) {
		t.Errorf("opening %+v", l.opening)
	}
	put(t, l, testLeaf(9))
	if data := journalBytes(t, fsys); len(bytes.Trim(data[l.journal.offset:], "\x00")) > 0 {
		t.Error("bytes of a torn batch stand after the last one")
	}
	mustClose(t, l)
}

// TestUntrimmed: a closed journal whose zeros a crash brought back reads whole.
func TestUntrimmed(t *testing.T) {
	fsys := newMem(54)
	o := testOptions(fsys)
	o.MaxBytes = 4 << 10
	l := mustOpen(t, o)
	defer mustClose(t, l)
	for i := 0; ; i++ {
		if at := put(t, l, testLeaf(i)); at.Log == 2 {
			break
		}
	}
	before := journalBytes(t, fsys)
	want := kinds(all(t, l, 1))
	f, err := fsys.Open(journalOne, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 5000), int64(len(before))); err != nil {
		t.Fatal(err)
	}
	if got := kinds(all(t, l, 1)); got != want {
		t.Errorf("read as %s, want %s", got, want)
	}
	r, err := newReader(bytes.NewReader(before), int64(len(before)), l.identity(1))
	for err == nil {
		_, err = r.next()
	}
	if r.offset != int64(len(before)) {
		t.Errorf("a full journal has %d bytes, its last batch ends at %d", len(before), r.offset)
	}
}

// TestSyncsFindRoom: most batches of a journal that has grown don't change its
// size, which is what makes their syncs cheap.
func TestSyncsFindRoom(t *testing.T) {
	fsys := newMem(55)
	l := mustOpen(t, testOptions(fsys))
	defer mustClose(t, l)
	grew, room := 0, l.journal.room
	for i := range 400 {
		put(t, l, testLeaf(i))
		if r := l.journal.room; r != room {
			grew, room = grew+1, r
		}
	}
	if grew == 0 || grew > 40 {
		t.Errorf("the journal grew %d times for 400 batches", grew)
	}
}
