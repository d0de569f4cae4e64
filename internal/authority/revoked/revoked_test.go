// SPDX-License-Identifier: Apache-2.0

package revoked_test

import (
	"slices"
	"testing"

	"claviger/internal/authority/revoked"
	"claviger/internal/wire"
)

func entry(of string, id wire.RevocationID, since int64, lease uint64) revoked.Entry {
	return revoked.Entry{Of: of, ID: id, Epoch: wire.Epoch{Generation: 1, Position: uint64(since) + 1}, Since: since, Lease: lease}
}

func TestListIsToldUntilLeasesEnd(t *testing.T) {
	a, b := wire.RevocationID{1}, wire.RevocationID{2}
	var none revoked.List
	one := none.With(entry("key:a", a, 1000, 60))
	two := one.With(entry("client:b", b, 2000, 10))
	for now, want := range map[int64][]wire.RevocationID{2000: {a, b}, 12_000: {a, b}, 12_001: {a}, 61_000: {a}, 61_001: nil} {
		if got := two.IDs(now); !slices.Equal(got, want) {
			t.Errorf("at %d: %v, want %v", now, got, want)
		}
	}
	if got := two.Running(12_001); len(got) != 1 || got[0] != entry("key:a", a, 1000, 60) {
		t.Errorf("running: %v", got)
	}
	if got := two.Running(2000); len(got) != 2 {
		t.Errorf("running: %v", got)
	}
	if len(none.IDs(0)) != 0 || len(one.IDs(2000)) != 1 {
		t.Error("a list changed under its successor")
	}
	if got := two.Without("key:a", 3000).IDs(3000); !slices.Equal(got, []wire.RevocationID{b}) {
		t.Errorf("taken back: %v", got)
	}
	if got := two.Set(false, entry("key:a", a, 3000, 60)).Set(true, entry("key:d", b, 3000, 60)); len(got) != 2 || got[1].Of != "key:d" {
		t.Errorf("set: %v", got)
	}
	if got := two.With(entry("key:a", a, 100_000, 60)).IDs(100_000); !slices.Equal(got, []wire.RevocationID{a}) {
		t.Errorf("revoked again: %v", got)
	}
	if n := len(two.With(entry("key:c", a, 72_001, 1))); n != 2 {
		t.Errorf("%d entries: b is over by more than a minute", n)
	}
}

// TestSharedID has two things with one id: it is told once, and as long as one
// of them is revoked.
func TestSharedID(t *testing.T) {
	id := wire.RevocationID{1}
	var l revoked.List
	l = l.With(entry("client:web", id, 0, 60)).With(entry("key:mine", id, 0, 60))
	if got := l.IDs(0); len(got) != 1 {
		t.Errorf("told %d times", len(got))
	}
	if got := l.Without("key:mine", 0).IDs(0); !slices.Equal(got, []wire.RevocationID{id}) {
		t.Errorf("after one was taken back: %v", got)
	}
}
