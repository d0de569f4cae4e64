// SPDX-License-Identifier: Apache-2.0

package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
)

var errDisk = errors.New("disk")

func mustOpen(t *testing.T, f *FS, name string) *File {
	t.Helper()
	file, err := f.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func content(t *testing.T, f *FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	size, _ := file.Size()
	data := make([]byte, size)
	if _, err := file.ReadAt(data, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return data
}

func newDir(t *testing.T) *FS {
	t.Helper()
	f := New(1)
	if err := f.MkdirAll("d/e"); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSyncedSurvives: content that was synced, under a name that was, is there
// after every crash; what wasn't is sometimes there and sometimes not.
func TestSyncedSurvives(t *testing.T) {
	f := newDir(t)
	file := mustOpen(t, f, "d/a")
	durable := bytes.Repeat([]byte{1}, 3*sector)
	file.WriteAt(durable, 0)
	file.Sync()
	f.SyncDir("d")
	file.WriteAt(bytes.Repeat([]byte{2}, 3*sector), 3*sector)
	mustOpen(t, f, "d/b")
	tails, names, torn := 0, 0, 0
	for seed := range uint64(200) {
		after := f.Crash(seed)
		got := content(t, after, "d/a")
		if !bytes.HasPrefix(got, durable) {
			t.Fatalf("seed %d: synced content lost", seed)
		}
		switch tail := got[len(durable):]; {
		case bytes.Count(tail, []byte{2}) == 3*sector:
			tails++
		case len(tail) > 0 && bytes.Contains(tail, []byte{2}):
			torn++
		}
		if list, _ := after.List("d"); slices.Contains(list, "b") {
			names++
		}
	}
	if tails == 0 || tails == 200 || torn == 0 || names == 0 || names == 200 {
		t.Errorf("of 200: %d whole, %d torn, %d names", tails, torn, names)
	}
}

func TestRename(t *testing.T) {
	f := newDir(t)
	for name, data := range map[string]string{"d/a": "old", "d/t": "new"} {
		file := mustOpen(t, f, name)
		file.WriteAt([]byte(data), 0)
		file.Sync()
	}
	f.SyncDir("d")
	if err := f.Rename("d/t", "d/a"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for seed := range uint64(100) {
		seen[string(content(t, f.Crash(seed), "d/a"))]++
	}
	if len(seen) != 2 || seen["old"] == 0 || seen["new"] == 0 {
		t.Errorf("after an unsynced rename: %v", seen)
	}
	f.SyncDir("d")
	for seed := range uint64(100) {
		if got := content(t, f.Crash(seed), "d/a"); string(got) != "new" {
			t.Fatalf("after a synced rename: %q", got)
		}
	}
	if err := f.Rename("d/none", "d/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename of nothing: %v", err)
	}
}

// TestFailedSyncForgets: what a failed sync didn't write, no later one does.
func TestFailedSyncForgets(t *testing.T) {
	f := newDir(t)
	file := mustOpen(t, f, "d/a")
	f.SyncDir("d")
	file.WriteAt([]byte("x"), 0)
	f.SetFault(func(op Op) error {
		if op.Kind == Sync {
			return errDisk
		}
		return nil
	})
	if err := file.Sync(); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	f.SetFault(nil)
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, f, "d/a"); string(got) != "x" {
		t.Errorf("cache: %q", got)
	}
	lost := 0
	for seed := range uint64(100) {
		if got := content(t, f.Crash(seed), "d/a"); string(got) != "x" {
			lost++
		}
	}
	if lost == 0 {
		t.Error("the second sync wrote what the first forgot")
	}
	file.WriteAt([]byte("x"), 0)
	file.Sync()
	for seed := range uint64(100) {
		if got := content(t, f.Crash(seed), "d/a"); string(got) != "x" {
			t.Fatalf("written and synced again, yet %q", got)
		}
	}
}

func TestFaults(t *testing.T) {
	f := newDir(t)
	file := mustOpen(t, f, "d/a")
	calls := map[Kind]func() error{
		Open:     func() error { _, err := f.Open("d/a", false); return err },
		Read:     func() error { _, err := file.ReadAt(nil, 0); return err },
		Write:    func() error { _, err := file.WriteAt([]byte("abc"), 0); return err },
		Sync:     file.Sync,
		Truncate: func() error { return file.Truncate(1) },
		Rename:   func() error { return f.Rename("d/a", "d/b") },
		Mkdir:    func() error { return f.MkdirAll("d/x") },
		List:     func() error { _, err := f.List("d"); return err },
		SyncDir:  func() error { return f.SyncDir("d") },
		Lock:     func() error { _, err := f.Lock("d/l"); return err },
	}
	for kind, call := range calls {
		before := f.Ops()
		f.SetFault(func(op Op) error {
			if op.Kind != kind || op.N != before {
				t.Errorf("%s: fault sees %+v", kind, op)
			}
			return errDisk
		})
		if err := call(); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	f.SetFault(nil)
	if list, _ := f.List("d"); !slices.Equal(list, []string{"a", "e"}) {
		t.Errorf("failed operations happened: %v", list)
	}
}

func TestLockTruncateDamage(t *testing.T) {
	f := newDir(t)
	lock, err := f.Lock("d/l")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock("d/l"); err == nil {
		t.Error("locked twice")
	}
	lock.Close()
	if _, err := f.Lock("d/l"); err != nil {
		t.Errorf("lock after close: %v", err)
	}
	file := mustOpen(t, f, "d/a")
	file.WriteAt([]byte("abcdef"), 0)
	file.Truncate(3)
	file.Truncate(5)
	if got := content(t, f, "d/a"); string(got) != "abc\x00\x00" {
		t.Errorf("truncated: %q", got)
	}
	file.Sync()
	f.SyncDir("d")
	if !f.Damage("d/a", 1) || f.Damage("d/a", 5) || f.Damage("d/none", 0) {
		t.Error("damage")
	}
	if got := content(t, f.Crash(1), "d/a"); string(got) != "arc\x00\x00" {
		t.Errorf("damaged: %q", got)
	}
	if _, err := f.Open("none/a", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file without a directory: %v", err)
	}
}
