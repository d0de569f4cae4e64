// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/testkit/faultstore"
	"claviger/internal/wire"
)

// second joins s2 and opens its log on the same store.
func (k *kit) second() *Log {
	k.t.Helper()
	k.do(members.KindJoin, k.s2.server(), k.ann, k.bob, k.s2)
	o := k.options(k.s2)
	o.Fresh = true
	return must(Open(k.t.Context(), o))
}

func TestReplicasFoldToEqualStates(t *testing.T) {
	k := newKit(t)
	two := k.second()
	everything(k)
	k.force(nil, []byte("void"))
	for _, l := range []*Log{k.log, two} {
		if err := l.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	replayed := k.reopen()
	for name, l := range map[string]*Log{"the other server": two, "a replay": replayed} {
		if !reflect.DeepEqual(k.log.state, l.state) {
			t.Errorf("%s has another state", name)
		}
	}
	// An admin's own replay of the opened records, without the servers' names for
	// clients: the same head.
	opened := must(k.log.Records(t.Context(), 0, 1000))
	s, err := Found(opened[0].Link, opened[0].Entry)
	for _, o := range opened[1:] {
		if err == nil {
			err = s.Fold(o.Link, o.Entry, nil)
		}
	}
	if err != nil || s.Head != k.state().Head || len(s.Voids) != len(k.state().Voids) {
		t.Errorf("an admin's replay: %v, head %s with %d voids", err, s.Head, len(s.Voids))
	}
}

// everything appends a record of nearly every kind.
func everything(k *kit) {
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.bob)
	k.do(KindKeyVersion, version(1, 2), k.s1)
	k.do(KindSecret, secretAt("a/db", 1, 2), k.s1)
	k.do(KindSecret, secretAt("a/old", 1, 2), k.s1)
	k.do(KindSecret, SecretWritten{Name: "a/old", Revision: 2, Key: keyID(1)}, k.s1)
	k.do(KindKeyDisable, KeyRef{ID: keyID(1)}, k.s1)
	k.do(KindKeyEnable, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindInviteRule, InviteRule{Admin: "cyd", Prefix: "ci/"}, k.ann, k.bob)
	k.do(KindInvite, Invite{ID: wire.BodyID{7}, Client: client("ci/x"), Key: bytes.Repeat([]byte{7}, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}, k.cyd)
	k.do(KindEnrolled, Enrolled{Invite: wire.BodyID{7}, Client: client("ci/x"), Key: wire.Hash{5}, NotAfter: 9}, k.s1)
	k.do(KindClientRevoke, Subject{Client: client("ci/x")}, k.s1)
	k.do(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1}, k.ann, k.bob)
	k.do(KindErasure, Erasure{Epoch: 1, Versions: []VersionRef{{ID: keyID(1), Number: 1}}, Segments: []SegmentChange{{Old: [16]byte{1}, New: [16]byte{2}}}, Switch: []byte("sw")}, k.s1)
	k.do(KindReceipt, Receipt{Server: k.s1.id(), Epoch: 1, ID: [16]byte{6}, Waiting: true, NextKey: bytes.Repeat([]byte{6}, wire.PublicKeySize)}, k.s1)
	k.do(KindBackup, Backup{ID: wire.BodyID{9}, Server: k.s1.id(), ErasureEpoch: 1, HoldsEEK: true}, k.s1)
	k.do(KindAnchor, Anchor{Server: k.s1.id(), Checkpoint: wire.Checkpoint{Log: 1, Size: 4, Root: wire.Hash{8}}}, k.s1)
	k.do(members.KindRestore, members.Restore{Generation: 2, Epoch: k.state().Epoch, Head: k.state().Head}, k.ann, k.bob)
}

// TestTwoServersAppend has both append at once: conflicts are retried, nothing
// is lost and both end at the same head.
func TestTwoServersAppend(t *testing.T) {
	k := newKit(t)
	two := k.second()
	const each = 20
	var wg sync.WaitGroup
	run := func(l *Log, p person) {
		for i := range each {
			var entry []byte
			l.View(func(s *State) {
				entry = must(s.Entry(KindAnchor, Anchor{Server: p.id(), Checkpoint: wire.Checkpoint{Size: uint64(i)}}, k.clock.Now().Add(time.Hour), p.key))
			})
			if _, err := l.Append(t.Context(), entry); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
	}
	wg.Go(func() { run(k.log, k.s1) })
	wg.Go(func() { run(two, k.s2) })
	wg.Wait()
	for _, l := range []*Log{k.log, two} {
		if err := l.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(k.log.state, two.state) || k.epoch().Position != 2+2*each || len(k.state().Voids) != 0 {
		t.Errorf("ended at %s and %s with voids %v", k.log.state.Epoch, two.state.Epoch, k.state().Voids)
	}
}

func TestFollowAndChanged(t *testing.T) {
	k := newKit(t)
	two := k.second()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- two.Follow(ctx) }()
	changed := two.Changed()
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("the other server saw nothing")
	}
	two.View(func(s *State) {
		if string(s.Policy.Source) != "one" {
			t.Error("Changed closed before the change could be seen")
		}
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
	if two.Err() != nil {
		t.Errorf("a cancelled Follow closed the log: %v", two.Err())
	}
}

// shifted is a clock that goes as another one does, at another time.
type shifted struct {
	clock.Clock
	by time.Duration
}

func (s shifted) Now() time.Time { return s.Clock.Now().Add(s.by) }

// TestRecordAheadOfTheClockIsHeldBack takes it when the clock has come near.
func TestRecordAheadOfTheClockIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.do(members.KindJoin, k.s2.server(), k.ann, k.bob, k.s2)
		o := k.options(k.s2)
		o.Fresh, o.Clock = true, shifted{clock.Process(), time.Until(k.clock.Now())}
		two := must(Open(t.Context(), o))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- two.Follow(ctx) }()
		k.clock.Advance(2 * time.Minute)
		k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
		synctest.Wait()
		if err := two.Refresh(ctx); !errors.Is(err, ErrAhead) || two.Err() != nil {
			t.Errorf("two minutes ahead: %v, %v", err, two.Err())
		}
		two.View(func(s *State) {
			if s.Epoch.Position != 2 {
				t.Error("the record was not held back")
			}
		})
		time.Sleep(92 * time.Second)
		synctest.Wait()
		two.View(func(s *State) {
			if s.Epoch.Position != 3 {
				t.Error("the record was not taken when its time had come")
			}
		})
		cancel()
		<-done
	})
}

func TestAppendStoreErrors(t *testing.T) {
	boom := errors.New("disk on fire")
	t.Run("not written", func(t *testing.T) {
		fs := faultstore.New(store.NewMem())
		k := newKitOn(t, fs)
		fs.Fail(boom, false)
		entry := k.entry(KindPolicy, policyOf("one"), k.ann, k.bob)
		if _, err := k.log.Append(t.Context(), entry); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		fs.Heal()
		if _, err := k.log.Append(t.Context(), entry); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("written all the same", func(t *testing.T) {
		fs := faultstore.New(store.NewMem())
		k := newKitOn(t, fs)
		fs.Fail(boom, true)
		if _, err := k.log.Append(t.Context(), k.entry(KindPolicy, policyOf("one"), k.ann, k.bob)); err != nil {
			t.Errorf("got %v", err)
		}
		fs.Heal()
		if k.epoch().Position != 2 || k.reopen().state.Epoch != k.epoch() {
			t.Errorf("at %s", k.epoch())
		}
	})
	t.Run("confirmed and forgotten", func(t *testing.T) {
		fs := faultstore.New(store.NewMem())
		k := newKitOn(t, fs)
		fs.Lose(1)
		k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
		if err := k.log.Refresh(t.Context()); !errors.Is(err, ErrLog) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refuses and shows nothing", func(t *testing.T) {
		fs := faultstore.New(store.NewMem())
		k := newKitOn(t, fs)
		if err := fs.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := *k
		o := k.options(k.s1)
		o.HeadPath = ""
		other.log = must(Open(t.Context(), o))
		other.do(KindPolicy, policyOf("one"), k.ann, k.bob)
		if _, err := k.log.Append(t.Context(), k.entry(KindConfirm, Confirm{Admin: "ann"}, k.ann)); !errors.Is(err, ErrLog) {
			t.Errorf("got %v", err)
		}
		fs.Heal()
		if err := k.log.Refresh(t.Context()); err != nil || k.epoch().Position != 2 {
			t.Errorf("after it thawed: %v at %s", err, k.epoch())
		}
	})
	t.Run("reading fails for a while", func(t *testing.T) {
		k := newKit(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.log.Refresh(ctx); err == nil || k.log.Err() != nil {
			t.Errorf("cancelled: %v, and the log says %v", err, k.log.Err())
		}
		if err := k.log.Refresh(t.Context()); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// TestReadersDoNotWaitForTheStore has an append hang in the store.
func TestReadersDoNotWaitForTheStore(t *testing.T) {
	slow := &slowStore{Store: store.NewMem(), entered: make(chan struct{}), leave: make(chan struct{})}
	k := newKitOn(t, slow)
	slow.slow = true
	entry := k.entry(KindPolicy, policyOf("one"), k.ann, k.bob)
	done := make(chan error)
	go func() {
		_, err := k.log.Append(t.Context(), entry)
		done <- err
	}()
	<-slow.entered
	if k.epoch().Position != 1 { // View returns although Append has not
		t.Error("the change is visible before it is durable")
	}
	close(slow.leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

type slowStore struct {
	store.Store
	slow           bool
	entered, leave chan struct{}
}

func (s *slowStore) Append(ctx context.Context, after uint64, record []byte) error {
	if s.slow {
		close(s.entered)
		<-s.leave
	}
	return s.Store.Append(ctx, after, record)
}

// TestDeathBetweenStoreAndHeadFile leaves the head file one record behind.
func TestDeathBetweenStoreAndHeadFile(t *testing.T) {
	k := grown(t)
	path := k.options(k.s1).HeadPath
	before := must(os.ReadFile(path))
	k.do(KindPolicy, policyOf("two"), k.ann, k.bob)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	l := k.reopen()
	if string(l.state.Policy.Source) != "two" {
		t.Error("the last record is not there")
	}
	seen := must(l.readHead())
	if seen.Epoch != l.state.Epoch || seen.Head != l.state.Head || seen.Members != l.state.Members.Newest {
		t.Error("open did not bring the head file up")
	}
}

// TestHeadFileThatCannotBeWritten closes the log before anything is done on what
// it could not note.
func TestHeadFileThatCannotBeWritten(t *testing.T) {
	k := newKit(t)
	dir := filepath.Join(k.dir, "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := k.options(k.s1)
	o.HeadPath, o.Fresh = filepath.Join(dir, "head"), true
	k.log = must(Open(t.Context(), o))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	changed := k.log.Changed()
	entry := k.entry(KindPolicy, policyOf("one"), k.ann, k.bob)
	if _, err := k.log.Append(t.Context(), entry); err == nil || k.log.Err() == nil {
		t.Errorf("appended without a head file: %v", err)
	}
	select {
	case <-changed:
		t.Error("the change was announced")
	default:
	}
	for range 2 {
		if _, err := k.log.Append(t.Context(), k.entry(KindConfirm, Confirm{Admin: "ann"}, k.ann)); err == nil {
			t.Error("a closed log took a record")
		}
	}
	if err := k.log.Refresh(t.Context()); err == nil {
		t.Error("a closed log was read")
	}
}

// TestAppendNotesWhatItReadFirst has an entry refused because of records that
// another server appended: what was read is in the head file all the same.
func TestAppendNotesWhatItReadFirst(t *testing.T) {
	k := newKit(t)
	two := k.second()
	stale := k.entry(KindPolicy, policyOf("one"), k.ann, k.bob)
	var entry []byte
	two.View(func(s *State) {
		entry = must(s.Entry(KindPolicy, policyOf("two"), k.clock.Now().Add(time.Hour), k.ann.key, k.cyd.key))
	})
	if _, err := two.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if _, err := k.log.Append(t.Context(), stale); !errors.Is(err, ErrRefused) {
		t.Errorf("a policy over another one: %v", err)
	}
	if seen := must(k.log.readHead()); seen.Epoch != k.epoch() || k.epoch().Position != 3 {
		t.Errorf("at %s, the head file says %s", k.epoch(), seen.Epoch)
	}
}

// TestEntryWithANewerBase comes from an admin who has seen more than the server.
func TestEntryWithANewerBase(t *testing.T) {
	k := newKit(t)
	two := k.second()
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	if _, err := two.Append(t.Context(), k.entry(KindKeyCreate, createKey(1, "a"), k.ann)); err != nil {
		t.Errorf("got %v", err)
	}
}
