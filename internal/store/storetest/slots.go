// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"claviger/internal/store"
)

func testSlotSwap(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, _, err := s.Get(ctx, "k")
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.Put(ctx, "k", 1, []byte("v")), store.ErrConflict)
	wantError(t, s.Put(ctx, "k", 1, nil), store.ErrConflict)
	mustPut(t, s, "k", 0, []byte("v1"))
	wantError(t, s.Put(ctx, "k", 0, []byte("v2")), store.ErrConflict)

	value, first, err := s.Get(ctx, "k")
	check(t, err)
	if string(value) != "v1" || first == 0 {
		t.Fatalf("slot = %q at %d", value, first)
	}
	mustPut(t, s, "k", first, []byte("v2"))
	wantError(t, s.Put(ctx, "k", first, []byte("v3")), store.ErrConflict)
	wantError(t, s.Put(ctx, "k", first, nil), store.ErrConflict)
	value, second, err := s.Get(ctx, "k")
	check(t, err)
	if string(value) != "v2" || second == first {
		t.Fatalf("slot = %q at %d after %d", value, second, first)
	}
	mustPut(t, s, "k", second, nil)
	_, _, err = s.Get(ctx, "k")
	wantError(t, err, store.ErrNotFound)
}

// testSlotVersions: a writer that read before a deletion must not hit the slot
// that was made anew under the same key.
func testSlotVersions(t *testing.T, s store.Store) {
	seen := make(map[uint64]bool)
	for range 5 {
		mustPut(t, s, "k", 0, []byte("v"))
		_, version, err := s.Get(t.Context(), "k")
		check(t, err)
		if seen[version] {
			t.Fatalf("version %d was given out twice", version)
		}
		seen[version] = true
		mustPut(t, s, "k", version, nil)
	}
}

func testSlotLimits(t *testing.T, s store.Store) {
	ctx := t.Context()
	longest := strings.Repeat("k", store.MaxKey)
	for _, key := range []string{"", longest + "k", "a b", "tab\t", "nul\x00", "é", "\x7f"} {
		wantError(t, s.Put(ctx, key, 0, []byte("v")), store.ErrInvalid)
		_, _, err := s.Get(ctx, key)
		wantError(t, err, store.ErrInvalid)
		if key != "" { // as a prefix it stands for all
			var last error
			for _, err := range s.List(ctx, key) {
				last = err
			}
			wantError(t, last, store.ErrInvalid)
		}
	}
	for _, value := range [][]byte{{}, make([]byte, store.MaxValue+1)} {
		wantError(t, s.Put(ctx, "k", 0, value), store.ErrInvalid)
	}
	wantError(t, s.Put(ctx, "k", 0, nil), store.ErrInvalid)

	biggest := bytes.Repeat([]byte{3}, store.MaxValue)
	mustPut(t, s, longest, 0, biggest)
	value, _, err := s.Get(ctx, longest)
	check(t, err)
	if !bytes.Equal(value, biggest) {
		t.Errorf("biggest value came back as %d bytes", len(value))
	}
}

func testSlotCopies(t *testing.T, s store.Store) {
	value := []byte("kept")
	mustPut(t, s, "k", 0, value)
	copy(value, "lost")
	got, _, err := s.Get(t.Context(), "k")
	check(t, err)
	copy(got, "lost")
	for entry, err := range s.List(t.Context(), "") {
		check(t, err)
		copy(entry.Value, "lost")
	}
	if all := collect(t, s, ""); !slices.Equal(all, []string{"k=kept"}) {
		t.Errorf("slots = %q", all)
	}
}

// testConcurrentPuts counts up one slot from many sides: a lost update shows as
// a smaller sum.
func testConcurrentPuts(t *testing.T, s store.Store) {
	const writers, each = 8, 10
	mustPut(t, s, "count", 0, []byte("0"))
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for done := 0; done < each; {
				value, version, err := s.Get(t.Context(), "count")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(value))
				err = s.Put(t.Context(), "count", version, strconv.AppendInt(nil, int64(n+1), 10))
				if err == nil {
					done++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := collect(t, s, "count"); !slices.Equal(got, []string{fmt.Sprintf("count=%d", writers*each)}) {
		t.Errorf("slots = %q, want %d", got, writers*each)
	}
}

func testList(t *testing.T, s store.Store) {
	keys := []string{"b", "a/2", "a/10", "a", "a/", "A", "a0", "a~", "a/2/x", "~"}
	for _, key := range keys {
		mustPut(t, s, key, 0, []byte(strings.ToUpper(key)))
	}
	slices.Sort(keys)
	for _, prefix := range []string{"", "a", "a/", "a/2", "b", "c", "~", "a~~"} {
		var want []string
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key+"="+strings.ToUpper(key))
			}
		}
		if got := collect(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
	}
	for range s.List(t.Context(), "") {
		break // leaving the loop early must leave no lock behind
	}
	mustPut(t, s, "c", 0, []byte("C"))
}

func testListBig(t *testing.T, s store.Store) {
	const slots = 12
	for i := range slots {
		mustPut(t, s, fmt.Sprintf("big/%02d", i), 0, bytes.Repeat([]byte{byte(i + 1)}, 200<<10))
	}
	mustPut(t, s, "bih", 0, []byte("not below the prefix"))
	n := 0
	for entry, err := range s.List(t.Context(), "big/") {
		check(t, err)
		if entry.Key != fmt.Sprintf("big/%02d", n) || len(entry.Value) != 200<<10 || entry.Value[0] != byte(n+1) {
			t.Fatalf("slot %d is %s with %d bytes", n, entry.Key, len(entry.Value))
		}
		n++
	}
	if n != slots {
		t.Errorf("%d slots, want %d", n, slots)
	}
}

// testListWhileWriting deletes each slot as it is listed, then one before it is
// listed: the loop's body must not block, and a slot that went is no error.
func testListWhileWriting(t *testing.T, s store.Store) {
	for i := range 20 {
		mustPut(t, s, fmt.Sprintf("k/%02d", i), 0, bytes.Repeat([]byte{1}, 40<<10))
	}
	n := 0
	for entry, err := range s.List(t.Context(), "k/") {
		check(t, err)
		check(t, s.Put(t.Context(), entry.Key, entry.Version, nil))
		n++
	}
	if n != 20 {
		t.Errorf("listed %d slots, want 20", n)
	}
	if left := collect(t, s, ""); len(left) != 0 {
		t.Errorf("slots left: %q", left)
	}

	mustPut(t, s, "a", 0, []byte("first"))
	mustPut(t, s, "b", 0, []byte("second"))
	_, version, err := s.Get(t.Context(), "b")
	check(t, err)
	for entry, err := range s.List(t.Context(), "") { // b may or may not be seen
		check(t, err)
		if entry.Key == "a" {
			mustPut(t, s, "b", version, nil)
		}
	}
}
