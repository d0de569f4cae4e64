// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"claviger/internal/store"
)

func testAppendRead(t *testing.T, s store.Store) {
	wantRecords(t, s, 1)
	mustAppend(t, s, 0, []byte("one"), []byte{0}, []byte("three"))
	wantRecords(t, s, 1, []byte("one"), []byte{0}, []byte("three"))
}

func testAppendConflict(t *testing.T, s store.Store) {
	wantError(t, s.Append(t.Context(), 1, []byte("early")), store.ErrConflict)
	mustAppend(t, s, 0, []byte("one"), []byte("two"))
	for _, after := range []uint64{0, 1, 3, 1 << 63} {
		wantError(t, s.Append(t.Context(), after, []byte("x")), store.ErrConflict)
	}
	wantRecords(t, s, 1, []byte("one"), []byte("two"))
}

func testAppendLimits(t *testing.T, s store.Store) {
	for _, record := range [][]byte{nil, {}, make([]byte, store.MaxRecord+1)} {
		wantError(t, s.Append(t.Context(), 0, record), store.ErrInvalid)
	}
	biggest := bytes.Repeat([]byte{7}, store.MaxRecord)
	mustAppend(t, s, 0, biggest, []byte{1}, biggest)
	wantRecords(t, s, 1, biggest, []byte{1}, biggest)
}

func testAppendCopies(t *testing.T, s store.Store) {
	record := []byte("kept")
	mustAppend(t, s, 0, record)
	copy(record, "lost")
	for got, err := range s.Read(t.Context(), 1, false) {
		check(t, err)
		copy(got.Data, "lost")
	}
	wantRecords(t, s, 1, []byte("kept"))
}

func testReadFrom(t *testing.T, s store.Store) {
	mustAppend(t, s, 0, []byte("one"), []byte("two"), []byte("three"))
	wantRecords(t, s, 2, []byte("two"), []byte("three"))
	wantRecords(t, s, 4)
	wantRecords(t, s, 1<<63)
	var last error
	for _, err := range s.Read(t.Context(), 0, true) {
		last = err
	}
	wantError(t, last, store.ErrInvalid)
}

// testReadWhileWriting writes inside the loop: a backend that holds a lock or a
// transaction while it yields stops here. The volume makes bbolt remap its file.
func testReadWhileWriting(t *testing.T, s store.Store) {
	const rounds = 24
	block := bytes.Repeat([]byte{9}, store.MaxRecord/2)
	mustAppend(t, s, 0, block)
	seen := uint64(0)
	for record, err := range s.Read(t.Context(), 1, false) {
		check(t, err)
		seen = record.Index
		if seen < rounds {
			check(t, s.Append(t.Context(), seen, block))
			check(t, s.Put(t.Context(), fmt.Sprintf("slot/%d", seen), 0, block))
		}
	}
	if seen != rounds {
		t.Errorf("read to %d, want %d: a reader sees what was appended while it read", seen, rounds)
	}
}

func testFollow(t *testing.T, s store.Store) {
	const records = 50
	mustAppend(t, s, 0, []byte("record 1"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var readers sync.WaitGroup
	caughtUp := make(chan struct{}, 3)
	for range cap(caughtUp) {
		readers.Go(func() {
			next := uint64(1)
			for record, err := range s.Read(ctx, 1, true) {
				if err != nil || record.Index != next || string(record.Data) != fmt.Sprintf("record %d", next) {
					t.Errorf("follower got record %d %q, error %v; want record %d", record.Index, record.Data, err, next)
					return
				}
				if next == 1 {
					caughtUp <- struct{}{}
				}
				if next++; next > records {
					return
				}
			}
		})
	}
	for range cap(caughtUp) {
		<-caughtUp
	}
	for i := uint64(1); i < records; i++ {
		check(t, s.Append(ctx, i, fmt.Appendf(nil, "record %d", i+1)))
	}
	readers.Wait()
}

func testFollowCancel(t *testing.T, s store.Store) {
	mustAppend(t, s, 0, []byte("one"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := endOf(t, s, ctx, cancel)
	wantError(t, last, context.Canceled)
	wantRecords(t, s, 1, []byte("one"))
}

func testFollowClose(t *testing.T, s store.Store) {
	mustAppend(t, s, 0, []byte("one"))
	wantError(t, endOf(t, s, t.Context(), func() { s.Close() }), store.ErrClosed)
}

// endOf follows the log, calls stop from outside once the follower has had the
// only record, and returns the error with which the loop ended.
func endOf(t *testing.T, s store.Store, ctx context.Context, stop func()) error {
	t.Helper()
	first, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var last error
		count := 0
		for _, err := range s.Read(ctx, 1, true) {
			if count++; count == 1 {
				close(first)
			}
			last = err
		}
		if count != 2 {
			last = fmt.Errorf("loop ran %d times (last error %v), want record and error", count, last)
		}
		ended <- last
	}()
	<-first
	stop()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("follower did not end")
		return nil
	}
}

func testConcurrentAppends(t *testing.T, s store.Store) {
	const writers, each = 8, 10
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			for n := range each {
				if err := appendRetry(t.Context(), s, fmt.Appendf(nil, "%d/%d", writer, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	next := make([]int, writers)
	total := 0
	for record, err := range s.Read(t.Context(), 1, false) {
		check(t, err)
		var writer, n int
		if _, err := fmt.Sscanf(string(record.Data), "%d/%d", &writer, &n); err != nil || n != next[writer] {
			t.Fatalf("record %d is %q: lost, doubled or out of order", record.Index, record.Data)
		}
		next[writer]++
		total++
	}
	if total != writers*each {
		t.Errorf("%d records, want %d", total, writers*each)
	}
}

// appendRetry appends at the head, wherever that is by then.
func appendRetry(ctx context.Context, s store.Store, record []byte) error {
	head := uint64(0)
	for {
		for seen, err := range s.Read(ctx, head+1, false) {
			if err != nil {
				return err
			}
			head = seen.Index
		}
		err := s.Append(ctx, head, record)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
