// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority/atrest"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/store/bbolt"
	"claviger/internal/testkit/faultstore"
	"claviger/internal/wire"
)

// grown is a kit with five records.
func grown(t *testing.T) *kit {
	k := newKit(t)
	grow(k)
	return k
}

func grow(k *kit) {
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	k.do(KindConfirm, Confirm{Admin: "cyd"}, k.cyd)
}

// TestTamperedLogIsRefused changes what lies in the store in every way that
// leaves it readable.
func TestTamperedLogIsRefused(t *testing.T) {
	k, other := grown(t), grown(t)
	whole, foreign := k.records(), other.records()
	tests := []struct {
		name    string
		records [][]byte
		want    string
	}{
		{"a record dropped", slices.Concat(whole[:2], whole[3:]), "stands where record 3 belongs"},
		{"two records swapped", [][]byte{whole[0], whole[2], whole[1], whole[3], whole[4]}, "stands where"},
		{"a record played again", slices.Concat(whole, whole[4:]), "stands where"},
		{"cut at the end", whole[:4], "older than what this server has acted on"},
		{"only the genesis", whole[:1], "older than what this server has acted on"},
		{"empty", nil, "empty"},
		{"a record of another installation", slices.Concat(whole[:2], foreign[2:3], whole[3:]), "does not open"},
		{"the log of another installation", foreign, "does not open"},
		{"a record cut short", slices.Concat(whole[:2], [][]byte{whole[2][:len(whole[2])-1]}, whole[3:]), "was changed"},
		{"a record grown", slices.Concat(whole[:4], [][]byte{append(bytes.Clone(whole[4]), 0)}), "was changed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := k.withRecords(test.records).open()
			if !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want one that says %q", err, test.want)
			}
		})
	}
	if _, err := k.withRecords(whole).open(); err != nil {
		t.Errorf("an exact copy: %v", err)
	}
}

func TestEveryFlippedByteIsRefused(t *testing.T) {
	k := grown(t)
	whole := k.records()
	const step = 11
	for r := range whole {
		for i := r % step; i < len(whole[r]); i += step {
			records := slices.Clone(whole)
			records[r] = bytes.Clone(whole[r])
			records[r][i] ^= 1 << (i % 8)
			if _, err := k.withRecords(records).open(); !errors.Is(err, ErrLog) {
				t.Fatalf("record %d, byte %d flipped: %v", r+1, i, err)
			}
		}
	}
}

// TestLinkFieldsAreSealed rewrites links, which are in the clear: their seals
// don't open then.
func TestLinkFieldsAreSealed(t *testing.T) {
	k := grown(t)
	edits := map[string]func(*wire.Link){
		"server": func(l *wire.Link) { l.Server[0] ^= 1 }, "time": func(l *wire.Link) { l.Time++ },
		"previous": func(l *wire.Link) { l.Previous[0] ^= 1 }, "content": func(l *wire.Link) { l.Content[0] ^= 1 },
		"generation": func(l *wire.Link) { l.Epoch.Generation++ },
	}
	for name, edit := range edits {
		records := k.records()
		r := must(wire.ParseRecord(records[4]))
		edit(&r.Link)
		records[4] = wire.Marshal(r)
		if _, err := k.withRecords(records).open(); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "does not open") {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestLogOfAnotherDomainWithTheSameRoot(t *testing.T) {
	k, other := grown(t), grown(t)
	foreign := *other
	foreign.body, foreign.slot, foreign.local = k.body, k.slot, k.local
	foreign.store = store.NewMem()
	foreign.log = must(Create(t.Context(), foreign.options(other.s1), other.genesis))
	o := k.options(k.s1)
	o.Store = foreign.store
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrLog) {
		t.Errorf("opened another domain's store: %v", err)
	}
	o = foreign.options(k.s1)
	o.HeadPath = k.options(k.s1).HeadPath
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "head file") {
		t.Errorf("took another domain's head file: %v", err)
	}
}

func TestHeadFile(t *testing.T) {
	k := grown(t)
	path := k.options(k.s1).HeadPath
	good := must(os.ReadFile(path))
	if info := must(os.Stat(path)); info.Mode().Perm() != 0o600 {
		t.Errorf("head file has mode %o", info.Mode().Perm())
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.open(); !errors.Is(err, ErrLog) {
			t.Fatalf("byte %d of the head file flipped: %v", i, err)
		}
	}
	if err := os.WriteFile(path, good[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(); !errors.Is(err, ErrLog) {
		t.Errorf("head file cut: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "head file is missing") {
		t.Errorf("no head file: %v", err)
	}
	o := k.options(k.s1)
	o.Fresh = true
	if _, err := Open(t.Context(), o); err != nil {
		t.Errorf("no head file at init: %v", err)
	}
	if _, err := k.open(); err != nil {
		t.Errorf("open did not write the head file: %v", err)
	}
}

func TestForeignHeadRecords(t *testing.T) {
	k := grown(t)
	head := k.log.head
	for name, r := range map[string]any{
		"of another domain": atrest.Head{Type: atrest.TypeHead, Domain: wire.DomainID{1}, Epoch: k.epoch(), Head: k.state().Head},
		"of another type":   atrest.Head{Type: TypeRollback, Domain: k.domain, Epoch: k.epoch(), Head: k.state().Head},
		"of another shape":  atrest.Rollback{Type: atrest.TypeHead, Domain: k.domain, Epoch: k.epoch(), Head: k.state().Head},
	} {
		if err := head.Write(wire.Marshal(r), []byte(atrest.TypeHead)); err != nil {
			t.Fatal(err)
		}
		if _, err := k.open(); !errors.Is(err, ErrLog) {
			t.Errorf("head record %s: %v", name, err)
		}
	}
}

// fork is a second history of k's domain: it parts after the second record.
func fork(t *testing.T, k *kit) *kit {
	f := k.withRecords(k.records()[:2])
	o := f.options(k.s1)
	o.HeadPath = ""
	f.log = must(Open(t.Context(), o))
	f.do(KindKeyVersion, version(1, 1), f.s1)
	f.do(KindPolicy, policyOf("other"), f.ann, f.bob)
	return f
}

func TestAnotherHistoryIsRefused(t *testing.T) {
	k := grown(t)
	f := fork(t, k)
	for range 3 { // longer than what was seen, so that only the hash tells
		f.do(KindAnchor, Anchor{Server: k.s1.id()}, k.s1)
	}
	if _, err := f.open(); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "another history") {
		t.Errorf("opened a fork: %v", err)
	}
}

func TestAcceptRollback(t *testing.T) {
	k := grown(t)
	old := k.withRecords(k.records()[:3])
	head, _ := k.state().HeadAt(3)
	at := wire.Epoch{Generation: 1, Position: 3}
	message := AcceptRollback(k.domain, at, head)
	sign := func(typ string, payload []byte, signers ...person) []byte {
		return must(wire.Sign(typ, payload, keysOf(signers)...))
	}
	elsewhere := AcceptRollback(k.domain, wire.Epoch{Generation: 1, Position: 2}, head)
	bad := map[string][]byte{
		"nothing":          nil,
		"garbage":          []byte("yes"),
		"one admin":        sign(TypeRollback, message, k.ann),
		"strangers":        sign(TypeRollback, message, newPerson("ann"), newPerson("bob")),
		"recovery quorum":  sign(TypeRollback, message, k.rex, k.rio),
		"another type":     sign(wire.TypeBody, message, k.ann, k.bob),
		"another epoch":    sign(TypeRollback, elsewhere, k.ann, k.bob),
		"another head":     sign(TypeRollback, AcceptRollback(k.domain, at, wire.Hash{1}), k.ann, k.bob),
		"another domain":   sign(TypeRollback, AcceptRollback(wire.DomainID{1}, at, head), k.ann, k.bob),
		"a head record":    sign(TypeRollback, wire.Marshal(atrest.Rollback{Type: atrest.TypeHead, Domain: k.domain, Epoch: at, Head: head}), k.ann, k.bob),
		"with a tail":      sign(TypeRollback, append(bytes.Clone(message), 0), k.ann, k.bob),
		"the present head": sign(TypeRollback, AcceptRollback(k.domain, k.epoch(), k.state().Head), k.ann, k.bob),
	}
	good := sign(TypeRollback, message, k.ann, k.bob)
	open := func(accept []byte, withHead bool) error {
		o := old.options(k.s1)
		o.HeadPath = filepath.Join(t.TempDir(), "head")
		if withHead {
			data := must(os.ReadFile(k.options(k.s1).HeadPath))
			if err := os.WriteFile(o.HeadPath, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o.Accept = accept
		_, err := Open(t.Context(), o)
		return err
	}
	for _, withHead := range []bool{true, false} {
		for name, accept := range bad {
			if err := open(accept, withHead); !errors.Is(err, ErrLog) {
				t.Errorf("head file %t, accepted by %s: %v", withHead, name, err)
			}
		}
		if err := open(good, withHead); err != nil {
			t.Errorf("head file %t, accepted by a quorum: %v", withHead, err)
		}
	}
}

// TestRestore goes on from an older copy with a restore that a quorum signed: a
// server that had seen more follows it, unless the members it knew are not in
// that history.
func TestRestore(t *testing.T) {
	restored := func(k *kit, records [][]byte) *kit {
		f := k.withRecords(records)
		o := f.options(k.s1)
		o.HeadPath = ""
		f.log = must(Open(t.Context(), o))
		f.do(members.KindRestore, members.Restore{Generation: 2, Epoch: f.epoch(), Head: f.state().Head}, k.ann, k.bob)
		return f
	}
	k := grown(t)
	f := restored(k, k.records()[:3])
	if e := f.epoch(); e != (wire.Epoch{Generation: 2, Position: 4}) || f.state().Members.Generation != 2 {
		t.Fatalf("restored to %s", e)
	}
	if _, err := f.open(); err != nil {
		t.Errorf("a server at %s meets a restore at 2.4: %v", k.epoch(), err)
	}
	f.do(KindPolicy, policyOf("after"), k.ann, k.bob)
	f.refused(members.KindRestore, members.Restore{Generation: 3, Epoch: wire.Epoch{Generation: 1, Position: 4}, Head: f.state().heads[3]}, ErrRefused, k.ann, k.bob)

	// The quorum that signs may be one that was replaced since.
	k = grown(t)
	short := k.records()[:3]
	dan, eve := newPerson("dan"), newPerson("eve")
	k.do(members.KindKeys, members.Keys{Keys: []members.Key{dan.admin(), eve.admin()}, Threshold: 2}, k.ann, k.bob, dan, eve)
	if _, err := restored(k, short).open(); !errors.Is(err, ErrLog) {
		t.Errorf("replaced admins restored a log: %v", err)
	}

	// A restore speaks for what lies behind it, not for a fork before it.
	k = grown(t)
	f = fork(t, k)
	for range 3 {
		f.do(KindAnchor, Anchor{Server: k.s1.id()}, k.s1)
	}
	f = restored(f, f.records())
	if _, err := f.open(); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "another history") {
		t.Errorf("a fork with a restore at %s, seen %s: %v", f.epoch(), k.epoch(), err)
	}
}

// TestStoreThatGoesBackWhileRunning finds it out without a restart.
func TestStoreThatGoesBackWhileRunning(t *testing.T) {
	faults := map[string]func(*faultstore.Store) error{
		"went back":     func(s *faultstore.Store) error { return s.Rollback(t.Context(), 3) },
		"flipped":       func(s *faultstore.Store) error { return s.Flip(t.Context(), 5, 99) },
		"dropped":       func(s *faultstore.Store) error { return s.Drop(t.Context(), 3) },
		"swapped":       func(s *faultstore.Store) error { return s.Swap(t.Context(), 4, 5) },
		"truncated":     func(s *faultstore.Store) error { return s.Truncate(t.Context(), 5, 10) },
		"back to blank": func(s *faultstore.Store) error { return s.Rollback(t.Context(), 0) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			fs := faultstore.New(store.NewMem())
			k := newKitOn(t, fs)
			grow(k)
			if err := fault(fs); err != nil {
				t.Fatal(err)
			}
			if err := k.log.Refresh(t.Context()); !errors.Is(err, ErrLog) {
				t.Errorf("refresh: %v", err)
			}
			fs.Heal()
			if _, err := k.log.Append(t.Context(), k.entry(KindPolicy, policyOf("two"), k.ann, k.bob)); !errors.Is(err, ErrLog) {
				t.Errorf("the log goes on after that: %v", err)
			}
			if err := k.log.Refresh(t.Context()); !errors.Is(err, ErrLog) {
				t.Errorf("the log is read after that: %v", err)
			}
		})
	}
}

// TestStoreThatShowsAnotherHistory swaps the store under a running server for
// one with other records of the same domain, as long and as well sealed.
func TestStoreThatShowsAnotherHistory(t *testing.T) {
	behind := &swappedStore{Store: store.NewMem()}
	k := newKitOn(t, behind)
	grow(k)
	f := fork(t, k)
	f.do(KindConfirm, Confirm{Admin: "cyd"}, k.cyd)
	behind.Store = f.store
	if err := k.log.Refresh(t.Context()); !errors.Is(err, ErrLog) {
		t.Errorf("refresh: %v", err)
	}
	if string(k.state().Policy.Source) != "one" || k.log.Err() == nil {
		t.Error("the other history was taken")
	}
}

// swappedStore is whatever store a test puts there.
type swappedStore struct{ store.Store }

func TestStoreOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	st, err := bbolt.Open(path, bbolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := newKitOn(t, st)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	old := must(os.ReadFile(path))
	st = must(bbolt.Open(path, bbolt.Options{}))
	k.store = st
	k.log = k.reopen()
	k.do(KindKeyVersion, version(1, 1), k.s1)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	k.store = must(bbolt.Open(path, bbolt.Options{}))
	t.Cleanup(func() { _ = k.store.Close() })
	if _, err := k.open(); !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), "older than") {
		t.Errorf("an older copy of the file: %v", err)
	}
}
