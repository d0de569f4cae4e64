// SPDX-License-Identifier: Apache-2.0

// Package storetest holds the behaviour that every store backend shares, as a
// suite that each of them runs. [Run] checks one open store; [Durable] checks
// what must survive closing and opening again. What a backend adds (locks, file
// modes, damage) it tests itself.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"claviger/internal/store"
)

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// Run checks the store that open returns: a new, empty one on each call. The
// suite closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"append and read", testAppendRead},
		{"append conflict", testAppendConflict},
		{"append limits", testAppendLimits},
		{"append keeps no reference", testAppendCopies},
		{"read from", testReadFrom},
		{"read while writing", testReadWhileWriting},
		{"follow wakes up", testFollow},
		{"follow ends with its context", testFollowCancel},
		{"follow ends with the store", testFollowClose},
		{"concurrent appends", testConcurrentAppends},
		{"slot compare and swap", testSlotSwap},
		{"slot versions never return", testSlotVersions},
		{"slot limits", testSlotLimits},
		{"slot keeps no reference", testSlotCopies},
		{"concurrent puts", testConcurrentPuts},
		{"list order and prefix", testList},
		{"list of big values", testListBig},
		{"list while writing", testListWhileWriting},
		{"cancelled context", testCancelled},
		{"closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			test.run(t, s)
		})
	}
}

// Durable checks that everything acknowledged is there after Close and a second
// open of the same place, which open names by directory.
func Durable(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	big := bytes.Repeat([]byte{0xa5}, store.MaxRecord)
	mustAppend(t, s, 0, []byte("first"), big)
	mustPut(t, s, "kept", 0, []byte("value"))
	mustPut(t, s, "gone", 0, []byte("value"))
	_, version, err := s.Get(ctx, "gone")
	check(t, err)
	mustPut(t, s, "gone", version, nil)
	_, kept, err := s.Get(ctx, "kept")
	check(t, err)
	check(t, s.Close())

	s = open(t, dir)
	t.Cleanup(func() { s.Close() })
	wantRecords(t, s, 1, []byte("first"), big)
	value, version, err := s.Get(ctx, "kept")
	check(t, err)
	if string(value) != "value" || version != kept {
		t.Errorf("slot after reopening = %q at %d, want %q at %d", value, version, "value", kept)
	}
	_, _, err = s.Get(ctx, "gone")
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.Append(ctx, 1, []byte("x")), store.ErrConflict)
	mustAppend(t, s, 2, []byte("third"))
	mustPut(t, s, "gone", 0, []byte("again"))
	if _, again, err := s.Get(ctx, "gone"); err != nil || again <= kept+1 {
		t.Errorf("version of the slot made anew = %d (%v), want one never given out", again, err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

func mustAppend(t *testing.T, s store.Store, after uint64, records ...[]byte) {
	t.Helper()
	for i, record := range records {
		check(t, s.Append(t.Context(), after+uint64(i), record))
	}
}

func mustPut(t *testing.T, s store.Store, key string, oldVersion uint64, value []byte) {
	t.Helper()
	check(t, s.Put(t.Context(), key, oldVersion, value))
}

// wantRecords checks that the log from index from on is exactly want.
func wantRecords(t *testing.T, s store.Store, from uint64, want ...[]byte) {
	t.Helper()
	n := 0
	for record, err := range s.Read(t.Context(), from, false) {
		check(t, err)
		if n == len(want) {
			t.Fatalf("a record too many: index %d", record.Index)
		}
		if record.Index != from+uint64(n) || !bytes.Equal(record.Data, want[n]) {
			t.Fatalf("record %d of %d bytes, want %d of %d bytes", record.Index, len(record.Data), from+uint64(n), len(want[n]))
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%d records, want %d", n, len(want))
	}
}

// collect lists the slots under prefix as "key=value".
func collect(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var all []string
	for entry, err := range s.List(t.Context(), prefix) {
		check(t, err)
		if entry.Version == 0 {
			t.Errorf("slot %s has version 0", entry.Key)
		}
		all = append(all, entry.Key+"="+string(entry.Value))
	}
	return all
}

func testCancelled(t *testing.T, s store.Store) {
	mustAppend(t, s, 0, []byte("x"))
	mustPut(t, s, "k", 0, []byte("v"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyCall(ctx, s) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	wantRecords(t, s, 1, []byte("x"))
}

func testClosed(t *testing.T, s store.Store) {
	mustAppend(t, s, 0, []byte("x"))
	mustPut(t, s, "k", 0, []byte("v"))
	check(t, s.Close())
	check(t, s.Close())
	for name, err := range everyCall(t.Context(), s) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s of a closed store: %v", name, err)
		}
	}
}

// everyCall makes each call that would succeed on an open store with one
// record and one slot "k", and returns its error.
func everyCall(ctx context.Context, s store.Store) map[string]error {
	errs := map[string]error{
		"Append": s.Append(ctx, 1, []byte("y")),
		"Put":    s.Put(ctx, "new", 0, []byte("v")),
	}
	_, _, errs["Get"] = s.Get(ctx, "k")
	for _, follow := range []bool{false, true} {
		name := fmt.Sprintf("Read (follow %t)", follow)
		errs[name] = nil
		for _, err := range s.Read(ctx, 1, follow) {
			errs[name] = err
		}
	}
	errs["List"] = nil
	for _, err := range s.List(ctx, "") {
		errs["List"] = err
	}
	return errs
}
