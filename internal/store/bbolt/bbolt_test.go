// SPDX-License-Identifier: Apache-2.0

package bbolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"claviger/internal/store"
	"claviger/internal/store/storetest"
)

func openIn(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := Open(filepath.Join(dir, "state.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openIn(t, t.TempDir()) })
}

func TestDurable(t *testing.T) {
	storetest.Durable(t, openIn)
}

func TestSecondOpener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	first, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second Open = %v, want ErrInUse", err)
	}
	if waited := time.Since(start); waited > 2*time.Second {
		t.Errorf("the second opener waited %v", waited)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, Options{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode().Perm())
	}
}

func TestExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := Open(path, Options{Existing: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of a missing file = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused Open left a file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Existing: true}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open of an empty file = %v", err)
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	noise := filepath.Join(dir, "noise")
	if err := os.WriteFile(noise, bytes.Repeat([]byte("not a store "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(noise, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open of noise = %v", err)
	}
	edit := func(name string, change func(*bolt.Tx) error) string {
		path := filepath.Join(dir, name)
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(change); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := edit("other", func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("log"))
		return err
	})
	if _, err := Open(other, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open of another program's file = %v", err)
	}
	future := edit("future", func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return meta.Put([]byte("format"), []byte{formatVersion + 1})
	})
	for range 2 { // the refusal closes the file: the second try meets no lock
		_, err := Open(future, Options{})
		if err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrInUse) {
			t.Errorf("Open of a newer format = %v", err)
		}
	}
}

// TestFailedCommit takes the file away under the store: the write that fails
// must stop every later read and write.
func TestFailedCommit(t *testing.T) {
	var file *os.File
	s, err := open(filepath.Join(t.TempDir(), "state.db"), Options{}, func(path string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(path, flag, mode)
		return file, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Append(t.Context(), 0, []byte("durable")); err != nil {
		t.Fatal(err)
	}
	file.Close()
	failure := s.Append(t.Context(), 1, []byte("lost"))
	if failure == nil || errors.Is(failure, store.ErrConflict) {
		t.Fatalf("Append without a file = %v", failure)
	}
	_, _, err = s.Get(t.Context(), "k")
	if !errors.Is(err, failure) {
		t.Errorf("Get after a failed commit = %v, want %v", err, failure)
	}
	for _, err := range s.Read(t.Context(), 1, true) {
		if !errors.Is(err, failure) {
			t.Errorf("Read after a failed commit = %v, want %v", err, failure)
		}
	}
}

// TestCloseDuringRead closes the file at the moment between a reader's check
// and its transaction.
func TestCloseDuringRead(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "state.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get = %v, want ErrClosed", err)
	}
}

func TestMaxSize(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "state.db"), Options{MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Append(t.Context(), 0, make([]byte, store.MaxRecord)); err == nil {
		t.Error("a record as big as the whole file was taken")
	}
}

// TestCutFile cuts the mapped file while the store is open, which makes the
// kernel answer a read with a fault: an error must come out of it, no crash.
func TestCutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range uint64(8) {
		if err := s.Append(t.Context(), i, bytes.Repeat([]byte{1}, store.MaxRecord)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Read":   firstError(t.Context(), s),
		"Append": s.Append(t.Context(), 8, []byte("x")),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of a cut file = %v, want ErrCorrupt", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get after Close = %v", err)
	}
}

func firstError(ctx context.Context, s *Store) error {
	for _, err := range s.Read(ctx, 1, false) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestDamagedEntries edits a closed file: records and slots that break the
// limits or leave a gap are refused, whatever else they hold.
func TestDamagedEntries(t *testing.T) {
	for name, edit := range map[string]func(log, slots *bolt.Bucket) error{
		"gap":          func(log, _ *bolt.Bucket) error { return log.Delete(indexKey(2)) },
		"long key":     func(log, _ *bolt.Bucket) error { return log.Put(append(indexKey(1), 0), []byte("x")) },
		"empty record": func(log, _ *bolt.Bucket) error { return log.Put(indexKey(2), nil) },
		"huge record":  func(log, _ *bolt.Bucket) error { return log.Put(indexKey(2), make([]byte, store.MaxRecord+1)) },
		"bare slot":    func(_, slots *bolt.Bucket) error { return slots.Put([]byte("k"), make([]byte, 8)) },
		"huge slot":    func(_, slots *bolt.Bucket) error { return slots.Put([]byte("k"), make([]byte, store.MaxValue+9)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			damage(t, path, edit)
			s, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, _, slotErr := s.Get(t.Context(), "k")
			if err := errors.Join(firstError(t.Context(), s), slotErr); !errors.Is(err, ErrCorrupt) {
				t.Errorf("reading = %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestDamagedHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	damage(t, path, func(log, _ *bolt.Bucket) error { return log.Put(append(indexKey(3), 0), []byte("x")) })
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Append(t.Context(), 3, []byte("x")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Append after a key that is no index = %v, want ErrCorrupt", err)
	}
}

func damage(t *testing.T, path string, edit func(log, slots *bolt.Bucket) error) {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if err := s.Append(t.Context(), i, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), "k", 0, []byte("v")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error { return edit(tx.Bucket(logBucket()), tx.Bucket(slotsBucket())) })
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "state.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	record := make([]byte, 1024)
	for i := uint64(0); b.Loop(); i++ {
		if err := s.Append(b.Context(), i, record); err != nil {
			b.Fatal(err)
		}
	}
}
