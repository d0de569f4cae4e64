// SPDX-License-Identifier: Apache-2.0

package faultstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"claviger/internal/store"
	"claviger/internal/store/storetest"
)

func TestFaultless(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return New(store.NewMem()) })
}

// five returns a store with the records a, b, c, d, e.
func five(t *testing.T) *Store {
	t.Helper()
	s := New(store.NewMem())
	for i, record := range []string{"a", "b", "c", "d", "e"} {
		check(t, s.Append(t.Context(), uint64(i), []byte(record)))
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func log(t *testing.T, s store.Store) string {
	t.Helper()
	var out strings.Builder
	for record, err := range s.Read(t.Context(), 1, false) {
		check(t, err)
		out.Write(record.Data)
	}
	return out.String()
}

func TestLogFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(context.Context, *Store) error
		want  string
	}{
		"rollback": {func(ctx context.Context, s *Store) error { return s.Rollback(ctx, 2) }, "ab"},
		"drop":     {func(ctx context.Context, s *Store) error { return s.Drop(ctx, 2) }, "acde"},
		"swap":     {func(ctx context.Context, s *Store) error { return s.Swap(ctx, 1, 5) }, "ebcda"},
		"flip":     {func(ctx context.Context, s *Store) error { return s.Flip(ctx, 3, 5) }, "abCde"},
		"truncate": {func(ctx context.Context, s *Store) error { return s.Truncate(ctx, 4, 0) }, "abce"},
	} {
		t.Run(name, func(t *testing.T) {
			s := five(t)
			check(t, test.fault(t.Context(), s))
			if got := log(t, s); got != test.want {
				t.Errorf("log = %s, want %s", got, test.want)
			}
			head := uint64(len(test.want))
			if name == "truncate" {
				head++
			}
			for _, after := range []uint64{0, head - 1, head + 1} {
				if err := s.Append(t.Context(), after, []byte("x")); !errors.Is(err, store.ErrConflict) {
					t.Errorf("Append after %d = %v", after, err)
				}
			}
			check(t, s.Append(t.Context(), head, []byte("x")))
			if got := log(t, s); got != test.want+"x" {
				t.Errorf("log = %s, want %sx", got, test.want)
			}
			s.Heal()
			if got := log(t, s); got != "abcdex" {
				t.Errorf("healed log = %s", got)
			}
		})
	}
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := five(t)
		check(t, s.Put(t.Context(), "k", 0, []byte("old")))
		check(t, s.Freeze(t.Context()))
		check(t, s.Append(t.Context(), 5, []byte("f")))
		check(t, s.Put(t.Context(), "new", 0, []byte("v")))
		if got := log(t, s) + fmt.Sprint(slots(t, s)); got != "abcde[k=old]" {
			t.Errorf("frozen store shows %s", got)
		}
		got := make(chan string)
		go func() {
			for record, err := range s.Read(t.Context(), 6, true) {
				if err != nil {
					close(got)
					return
				}
				got <- string(record.Data)
			}
		}()
		synctest.Wait()
		select {
		case record := <-got:
			t.Errorf("a follower of a frozen store got %s", record)
		default:
		}
		s.Heal()
		if record := <-got; record != "f" {
			t.Errorf("after healing the follower got %s", record)
		}
		check(t, s.Append(t.Context(), 6, []byte("g")))
		if record := <-got; record != "g" {
			t.Errorf("the follower got %s", record)
		}
		check(t, s.Close())
		if _, open := <-got; open {
			t.Error("the follower outlived the store")
		}
	})
}

func TestWriteFaults(t *testing.T) {
	s := five(t)
	s.Lose(2)
	check(t, s.Append(t.Context(), 5, []byte("f")))
	check(t, s.Put(t.Context(), "k", 0, []byte("v")))
	broken := errors.New("disk on fire")
	s.Fail(broken, false)
	if err := s.Append(t.Context(), 5, []byte("f")); !errors.Is(err, broken) {
		t.Errorf("Append = %v", err)
	}
	if got := log(t, s) + fmt.Sprint(slots(t, s)); got != "abcde[]" {
		t.Errorf("store shows %s", got)
	}
	s.Fail(broken, true)
	if err := s.Append(t.Context(), 5, []byte("f")); !errors.Is(err, broken) {
		t.Errorf("Append = %v", err)
	}
	if got := log(t, s); got != "abcdef" {
		t.Errorf("log = %s", got)
	}
}

func slots(t *testing.T, s store.Store) []string {
	t.Helper()
	var all []string
	for entry, err := range s.List(t.Context(), "") {
		check(t, err)
		all = append(all, entry.Key+"="+string(entry.Value))
	}
	return all
}

func TestSlotFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(*Store)
		want  []string
	}{
		"revive":       {func(s *Store) { s.Revive("k") }, []string{"k=one", "l=x"}},
		"revive first": {func(s *Store) { s.Revive("l") }, []string{"k=two"}},
		"hide":         {func(s *Store) { s.Hide("k") }, []string{"l=x"}},
		"flip":         {func(s *Store) { s.FlipSlot("k", 5) }, []string{"k=Two", "l=x"}},
		"truncate":     {func(s *Store) { s.TruncateSlot("k", 1) }, []string{"k=t", "l=x"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(store.NewMem())
			check(t, s.Put(t.Context(), "k", 0, []byte("one")))
			_, version, err := s.Get(t.Context(), "k")
			check(t, err)
			check(t, s.Put(t.Context(), "k", version, []byte("two")))
			check(t, s.Put(t.Context(), "l", 0, []byte("x")))
			_, version, err = s.Get(t.Context(), "k")
			check(t, err)
			test.fault(s)
			if got := slots(t, s); !slices.Equal(got, test.want) {
				t.Errorf("slots = %q, want %q", got, test.want)
			}
			value, _, err := s.Get(t.Context(), "k")
			if shown := slices.Contains(test.want, "k="+string(value)); shown != (err == nil) {
				t.Errorf("Get = %q, %v", value, err)
			}
			check(t, s.Put(t.Context(), "k", version, []byte("three"))) // the version is the true one
			if got := slots(t, s); got[0] != "k=three" {
				t.Errorf("after a Put slots = %q", got)
			}
			s.Heal()
			if got := slots(t, s); !slices.Equal(got, []string{"k=three", "l=x"}) {
				t.Errorf("healed slots = %q", got)
			}
		})
	}
}
