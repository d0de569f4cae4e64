// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"claviger/internal/authority/atrest"
	"claviger/internal/authority/snapshot"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func (k *kit) snapshotPath() string { return k.options(k.s1).HeadPath + ".snapshot" }

// restored is what the snapshot alone gives, nil if it was not used.
func (k *kit) restored() *State {
	k.t.Helper()
	l := newLog(k.options(k.s1))
	l.restore(k.t.Context())
	return l.state
}

// differ compares two states, taking nil and empty lists for the same.
func differ(a, b *State) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmp.Exporter(func(reflect.Type) bool { return true }))
}

// plenty is everything, and what else a state can hold: with it no field of a
// state is zero.
func plenty(k *kit) {
	everything(k)
	k.do(KindPolicy, policyOf("permit"), k.ann, k.bob)
	k.do(KindRecoverBegin, recoveryKeys(k, newPerson("eve")), k.rex, k.rio)
	k.do(KindKeyCreate, createKey(2, "b"), k.ann)
	k.do(KindKeyVersion, version2(2, 1, 1), k.s1)
	k.do(KindKeySettings, KeySettings{ID: keyID(2), Settings: createKey(2, "b").Settings}, k.ann)
	k.do(KindKeyDestroy, Destroy{ID: keyID(2), Number: 1, Wait: 3600}, k.ann, k.bob)
	k.do(KindInvite, Invite{ID: wire.BodyID{8}, Client: client("ci/y"), Key: make([]byte, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}, k.cyd)
	k.do(KindKeyDisable, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindEndpointSet, fullEndpoint(), k.ann)
	k.do(KindEndpointDisable, EndpointDisable{Name: "door", Revoke: true}, k.ann)
	k.do(KindEndpointSet, setEndpoint("gone"), k.ann)
	k.do(KindEndpointRemove, EndpointRef{Name: "gone"}, k.ann)
	k.do(KindRevokeAll, Subject{}, k.ann)
	k.force(nil, k.entry(KindKeyRotate, KeyRef{ID: keyID(99)}, k.ann))
	if err := k.log.Refresh(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// fullEndpoint leaves no field of an endpoint out.
func fullEndpoint() EndpointSet {
	return EndpointSet{Endpoint: Endpoint{
		Name: "door", Kind: "xks", Host: "door.example.com", Keys: []string{"aws/", "one/key"}, Rate: 7,
		Issuers:     []Issuer{{URL: "issuer", Audience: "us", JWKS: "https://example.com/jwks", Use: "jwt"}},
		Credentials: []Credential{{ID: "AKIA", Use: "sigv4", Subject: "arn:aws:iam::1:user/ann", Material: wire.Sum("m")}},
		ClientCAs:   [][]byte{{0x30, 0}}, ClientNames: []string{"cks.kms.eu-central-1.amazonaws.com"},
		Options: []Tag{{Name: "path", Value: "/x"}},
	}, Reason: "why"}
}

// version2 is a version made in an erasure epoch.
func version2(n byte, number, epoch uint64) KeyVersion {
	v := version(n, number)
	v.ErasureEpoch = epoch
	return v
}

// zero names the fields below v that are zero everywhere.
func zero(v reflect.Value, path string, seen map[string]bool) {
	if _, ok := seen[path]; !ok {
		seen[path] = false
	}
	seen[path] = seen[path] || !v.IsZero()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			zero(v.Elem(), path, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "_" {
				zero(v.Field(i), path+"."+name, seen)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			zero(v.Index(i), path+"[]", seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			zero(it.Value(), path+"[]", seen)
		}
	}
}

// TestEveryFieldGoesThroughTheSnapshot: a state in which every field says
// something comes back whole. Keys are looked at unpacked as well; package keyring
// tests their rows.
func TestEveryFieldGoesThroughTheSnapshot(t *testing.T) {
	k := newKit(t)
	plenty(k)
	k.log.Close()
	seen := map[string]bool{}
	zero(reflect.ValueOf(k.state()).Elem(), "State", seen)
	zero(reflect.ValueOf(k.state().secrets.Rows()), "secrets", seen)
	for path, said := range seen {
		// What a member chain says, package members folds again from its links; the
		// tree of secrets is there to find its rows.
		if !said && !strings.HasPrefix(path, "State.Members.") && !strings.HasPrefix(path, "State.secrets.top.") {
			t.Errorf("%s is zero in this test: let plenty set it", path)
		}
	}
	got := k.restored()
	if got == nil {
		t.Fatal("the snapshot was not used")
	}
	if diff := differ(k.state(), got); diff != "" {
		t.Error(diff)
	}
	if diff := differ(k.reopen().state, k.state()); diff != "" {
		t.Error(diff)
	}
}

// act does something at random that mostly holds; what is refused is not in the
// log, what a server forces is void in it.
func act(k *kit, r *rand.Rand, i int) {
	n := byte(1 + r.IntN(4))
	var of KeyRef
	kinds := []func() (string, any, []person){
		func() (string, any, []person) {
			return KindKeyCreate, createKey(n, fmt.Sprintf("k%d", n)), []person{k.ann}
		},
		func() (string, any, []person) {
			v, key := version(n, 1), k.state().Key(keyID(n))
			if key != nil {
				v.Number = uint64(len(key.Versions)) + 1
			}
			return KindKeyVersion, v, []person{k.s1}
		},
		func() (string, any, []person) { return KindKeyRotate, of, []person{k.bob} },
		func() (string, any, []person) { return KindKeyDisable, of, []person{k.s1} },
		func() (string, any, []person) { return KindKeyEnable, of, []person{k.ann} },
		func() (string, any, []person) {
			return KindKeyCompromise, VersionRef{ID: of.ID, Number: 1}, []person{k.ann}
		},
		func() (string, any, []person) {
			s := settings()
			s.Lease += uint64(r.IntN(50))
			return KindKeySettings, KeySettings{ID: of.ID, Settings: s}, []person{k.ann, k.cyd}
		},
		func() (string, any, []person) { return KindPolicy, policyOf(fmt.Sprint(i)), []person{k.ann, k.bob} },
		func() (string, any, []person) {
			return KindClientRevoke, Subject{Client: client(fmt.Sprint(n))}, []person{k.s1}
		},
		func() (string, any, []person) {
			return KindClientEnable, Subject{Client: client(fmt.Sprint(n))}, []person{k.ann, k.bob}
		},
		func() (string, any, []person) {
			return KindInvite, Invite{ID: wire.BodyID{byte(i), 1}, Client: client("x"), Key: make([]byte, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}, []person{k.ann, k.bob}
		},
		func() (string, any, []person) {
			return KindAnchor, Anchor{Server: k.s1.id(), Checkpoint: wire.Checkpoint{Size: uint64(i)}}, []person{k.s1}
		},
		func() (string, any, []person) {
			return members.KindRestore, members.Restore{Generation: k.state().Epoch.Generation + 1, Epoch: k.state().Epoch, Head: k.state().Head}, []person{k.ann, k.bob}
		},
	}
	of = KeyRef{ID: keyID(n)}
	kind, payload, signers := kinds[r.IntN(len(kinds))]()
	if r.IntN(10) == 0 {
		k.force(nil, k.entry(KindKeyRotate, KeyRef{ID: keyID(99)}, k.ann))
		if err := k.log.Refresh(k.t.Context()); err != nil {
			k.t.Fatal(err)
		}
		return
	}
	if _, err := k.log.Append(k.t.Context(), k.entry(kind, payload, signers...)); err != nil && !errors.Is(err, ErrRefused) {
		k.t.Fatalf("%s: %v", kind, err)
	}
	k.clock.Advance(time.Duration(r.IntN(1200)) * time.Second)
}

// TestSnapshotThenTheRestIsTheFold folds a random log to a random place, takes the
// state through a snapshot there and folds the rest.
func TestSnapshotThenTheRestIsTheFold(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		k := newKit(t)
		for i := range 60 {
			act(k, r, i)
		}
		records := must(k.log.Records(t.Context(), 1, 1000))
		want := replay(records)
		for range 8 {
			at := 1 + r.IntN(len(records))
			s := through(t, k, replay(records[:at]))
			for _, o := range records[at:] {
				if err := s.Fold(o.Link, o.Entry, revID); err != nil {
					t.Fatal(err)
				}
			}
			if diff := differ(want, s); diff != "" {
				t.Fatalf("seed %d, at %d of %d: %s", seed, at, len(records), diff)
			}
		}
	}
}

// through is what a state is after a snapshot.
func through(t *testing.T, k *kit, s *State) *State {
	t.Helper()
	file := snapshot.File{Path: filepath.Join(t.TempDir(), "s"), Box: atrest.Box{Key: k.local, Domain: k.domain, Label: "snapshot"}}
	if err := file.Write(snapshot.Header{}, snapshot.Capture(s.sections(k.domain))); err != nil {
		t.Fatal(err)
	}
	r := must(file.Open())
	defer r.Close()
	got := newState()
	if err := r.Load(got.sections(k.domain)); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestUnusableSnapshotIsReplaced: whatever is wrong with a snapshot, the start is
// as without one, and the snapshot is gone.
func TestUnusableSnapshotIsReplaced(t *testing.T) {
	k := newKit(t)
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	two := k.second()
	two.Close()
	k.log.Close()
	good := must(os.ReadFile(k.snapshotPath()))
	k.do(KindPolicy, policyOf("two"), k.ann, k.bob)
	if k.restored() == nil {
		t.Fatal("a good snapshot was not used")
	}
	other := newKit(t)
	other.log.keeper.File.Box.Key = k.local // nothing but the domain differs
	other.log.Close()
	bad := map[string][]byte{
		"empty": {}, "cut to its id": good[:16], "cut to its header": good[:300], "cut by one": good[:len(good)-1],
		"longer": append(bytes.Clone(good), 0), "twice": append(bytes.Clone(good), good...),
		"another server's": must(os.ReadFile(k.options(k.s2).HeadPath + ".snapshot")),
		"another domain's": must(os.ReadFile(other.snapshotPath())),
	}
	for i := 0; i < len(good); i += 1 + len(good)/64 {
		flipped := bytes.Clone(good)
		flipped[i] ^= 0x10
		bad[fmt.Sprintf("byte %d changed", i)] = flipped
	}
	for what, data := range bad {
		if err := os.WriteFile(k.snapshotPath(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		o := k.options(k.s1)
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		l, err := Open(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if diff := differ(l.state, k.state()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if _, err := os.Stat(k.snapshotPath()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(said.String(), "everything is replayed") {
			t.Errorf("%s: still there (%v), or not a word of it: %q", what, err, said.String())
		}
	}
}

// TestSnapshotUnderAnotherRoot is no snapshot.
func TestSnapshotUnderAnotherRoot(t *testing.T) {
	k := newKit(t)
	k.log.Close()
	local := k.local
	if k.local = secret.Random(32); k.restored() != nil {
		t.Error("opened with another key")
	}
	k.local = local
	k.log.keeper.Save(0, k.log.capture)
	if k.restored() == nil {
		t.Error("not opened with its own")
	}
}

// TestSnapshotOfAnotherRecord: a header that names another head than the state has,
// or a state of another record, is refused although the seal is good.
func TestSnapshotOfAnotherRecord(t *testing.T) {
	for what, edit := range map[string]func(*snapshot.Header, *State){
		"head":       func(h *snapshot.Header, _ *State) { h.Head[0] ^= 1 },
		"trail":      func(h *snapshot.Header, _ *State) { h.Trail[0] ^= 1 },
		"position":   func(h *snapshot.Header, _ *State) { h.Epoch.Position-- },
		"generation": func(h *snapshot.Header, _ *State) { h.Epoch.Generation++ },
		"heads":      func(_ *snapshot.Header, s *State) { s.heads = s.heads[:len(s.heads)-1] },
		"members":    func(_ *snapshot.Header, s *State) { s.Members = &members.State{} },
		"policy":     func(_ *snapshot.Header, s *State) { s.Policy = nil },
		"nothing":    func(*snapshot.Header, *State) {},
	} {
		k := newKit(t)
		k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
		s := clone(k.state())
		h := snapshot.Header{Epoch: s.Epoch, Head: s.Head, Trail: k.log.trail}
		edit(&h, s)
		if err := k.log.keeper.File.Write(h, snapshot.Capture(s.sections(k.domain))); err != nil {
			t.Fatal(err)
		}
		if used := k.restored() != nil; used != (what == "nothing") {
			t.Errorf("%s: used: %t", what, used)
		}
		k.reopen()
	}
}

// TestStoreIsStillCheckedBelowASnapshot changes every record below a snapshot in
// every way, and the start refuses what it refuses without one.
func TestStoreIsStillCheckedBelowASnapshot(t *testing.T) {
	k := newKit(t)
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	k.do(KindPolicy, policyOf("two"), k.ann, k.bob)
	k.do(KindPolicy, policyOf("three"), k.ann, k.bob)
	k.log.Close()
	snap := must(os.ReadFile(k.snapshotPath()))
	good := k.records()
	refused := func(what string, records [][]byte) {
		t.Helper()
		if err := os.WriteFile(k.snapshotPath(), snap, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.withRecords(records).open(); !errors.Is(err, ErrLog) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(k.snapshotPath()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the snapshot is still there: %v", what, err)
		}
	}
	for i := range good {
		for at := 0; at < len(good[i]); at += 1 + len(good[i])/16 {
			records := append([][]byte(nil), good...)
			records[i] = bytes.Clone(good[i])
			records[i][at] ^= 1
			refused(fmt.Sprintf("byte %d of record %d changed", at, i+1), records)
		}
		refused(fmt.Sprintf("cut before record %d", i+1), good[:i])
		if i > 0 {
			records := append([][]byte(nil), good...)
			records[i], records[i-1] = records[i-1], records[i]
			refused(fmt.Sprintf("records %d and %d swapped", i, i+1), records)
		}
	}
	// Sealed anew, the log is the same; only the snapshot is not of these bytes.
	opened := must(k.log.Records(t.Context(), 1, 100))
	anew := append([][]byte(nil), good...)
	anew[1] = k.log.bodies.SealRecord(opened[1].Link, opened[1].Entry)
	if err := os.WriteFile(k.snapshotPath(), snap, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := k.withRecords(anew).open(); err != nil || differ(l.state, k.state()) != "" {
		t.Errorf("a log that was sealed anew: %v", err)
	}
}

// TestOldSnapshotIsCaughtUp: what was appended since is folded onto it, and the
// head file is asked as ever.
func TestOldSnapshotIsCaughtUp(t *testing.T) {
	k := newKit(t)
	k.log.Close()
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	before := k.records()
	k.do(KindPolicy, policyOf("two"), k.ann, k.bob)
	if s := k.restored(); s == nil || s.Epoch.Position != 1 {
		t.Fatalf("restored %+v", s)
	}
	l := k.reopen()
	if diff := differ(l.state, k.state()); diff != "" || l.trail != k.log.trail {
		t.Error(diff)
	}
	if _, err := k.withRecords(before).open(); !errors.Is(err, ErrLog) {
		t.Errorf("a store that went back to after the snapshot: %v", err)
	}
	// A snapshot of one history says nothing for another.
	l.Close()
	fork := k.withRecords(before)
	fork.log = must(Open(t.Context(), func() Options { o := fork.options(k.s1); o.HeadPath = ""; return o }()))
	fork.do(KindPolicy, policyOf("other"), k.ann, k.bob)
	if _, err := fork.open(); !errors.Is(err, ErrLog) {
		t.Errorf("another history: %v", err)
	}
}

// TestSnapshotAheadOfTheClock is not used: the replay holds the newest record back.
func TestSnapshotAheadOfTheClock(t *testing.T) {
	k := newKit(t)
	k.clock.Advance(time.Hour)
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	k.log.Close()
	now := k.clock
	k.clock = clock.NewManual(now.Now().Add(-time.Hour))
	if _, err := k.open(); !errors.Is(err, ErrAhead) {
		t.Errorf("an hour before the newest record: %v", err)
	}
	if k.clock = now; k.restored() == nil {
		t.Error("the snapshot went, although only the clock was wrong")
	}
}

// TestCloseWritesOnlyWhatIsNew and nothing for a log that is closed for good.
func TestCloseWritesOnlyWhatIsNew(t *testing.T) {
	k := newKit(t)
	k.log.Close()
	first := must(os.ReadFile(k.snapshotPath()))
	info := must(os.Stat(k.snapshotPath()))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if k.log.Close(); !bytes.Equal(first, must(os.ReadFile(k.snapshotPath()))) {
		t.Error("written again with nothing new")
	}
	l := k.reopen()
	if l.Close(); !bytes.Equal(first, must(os.ReadFile(k.snapshotPath()))) {
		t.Error("written again after a start that used it")
	}
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	if k.log.Close(); bytes.Equal(first, must(os.ReadFile(k.snapshotPath()))) {
		t.Error("not written with something new")
	}
	k.do(KindPolicy, policyOf("two"), k.ann, k.bob)
	_ = k.log.fail(ErrLog)
	before := must(os.ReadFile(k.snapshotPath()))
	if k.log.Close(); !bytes.Equal(before, must(os.ReadFile(k.snapshotPath()))) {
		t.Error("written by a log that can't be believed")
	}
	(*Log)(nil).Close()
}

// FuzzSections: no part makes a state panic, whatever stands in it.
func FuzzSections(f *testing.F) {
	k := newKit(f)
	plenty(k)
	sections := k.state().sections(k.domain)
	for i, s := range sections {
		for data := range s.Capture() {
			f.Add(byte(i), data)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		s := newState()
		apply, err := s.sections(k.domain)[int(which)%len(sections)].Parse(data)
		if err != nil || apply() != nil {
			return
		}
		if s.Members == nil {
			s.Members = k.state().Members
		}
		if diff := differ(s, through(t, k, s)); diff != "" {
			t.Error(diff)
		}
	})
}
