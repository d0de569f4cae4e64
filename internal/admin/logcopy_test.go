// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/admin/authkey"
	"claviger/internal/admin/replay"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// filled is a domain with some records, and alice's profile that has seen them.
func filled(t *testing.T) (*fakeServer, *Profile, *Key) {
	t.Helper()
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	session := s.connect(p)
	for _, name := range []string{"a", "b", "c"} {
		if _, err := session.Propose(t.Context(), authority.KindKeyCreate, keyCreate(name)); err != nil {
			t.Fatal(err)
		}
	}
	return s, p, alice
}

// TestCacheIsReplayed: a cache that was changed, cut, doubled or filled with
// something else is worth nothing; the server's records take its place.
func TestCacheIsReplayed(t *testing.T) {
	s, p, _ := filled(t)
	good, err := p.readFile(recordsFile, maxRecords)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	huge := append(bytes.Clone(good), 0xff, 0xff, 0xff, 0xff)
	for name, data := range map[string][]byte{
		"flipped": flipped, "cut": good[:len(good)-7], "doubled": append(bytes.Clone(good), good...), "huge length": huge, "empty": {}, "noise": []byte("no records at all"),
	} {
		if err := p.writeFile(recordsFile, data); err != nil {
			t.Fatal(err)
		}
		if got := s.connect(p).State().Epoch.Position; got != 4 {
			t.Errorf("%s: %d records", name, got)
		}
		again, err := p.readFile(recordsFile, maxRecords)
		if err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s: the cache was not mended (%v)", name, err)
		}
		if st, err := Offline(p); err != nil || st.Epoch.Position != 4 {
			t.Errorf("%s: offline: %v", name, err)
		}
	}
}

// TestWhatWasVerifiedIsACache: it is kept with the records, used by the next
// command, and made again when it is missing, damaged or of another history.
func TestWhatWasVerifiedIsACache(t *testing.T) {
	s, p, alice := filled(t)
	kept := func(name string) *replay.Verified {
		t.Helper()
		v := p.verified()
		if v == nil || v.Head != s.head() || len(v.Marks) != int(v.Epoch.Position) {
			t.Fatalf("%s: %+v", name, v)
		}
		return v
	}
	good := kept("at first")
	if l, err := p.openLog(); err != nil || l.verified != good.Head {
		t.Errorf("it was not used: %v", err)
	}
	foreign := *good
	foreign.Head[0] ^= 1
	for name, data := range map[string][]byte{"noise": []byte("noise"), "of another history": wire.Marshal(foreign), "empty": {}} {
		if err := p.writeFile(verifiedFile, data); err != nil {
			t.Fatal(err)
		}
		if l, err := p.openLog(); err != nil || !l.verified.IsZero() || l.State.KeyNamed("c") == nil {
			t.Errorf("%s: %v", name, err)
		}
		s.connect(p)
		kept(name)
	}
	if err := os.Remove(filepath.Join(p.Dir(), verifiedFile)); err != nil {
		t.Fatal(err)
	}
	s.connect(p)
	kept("removed")
	s.append(t, authority.KindKeyCreate, keyCreate("d"), alice)
	s.connect(p)
	kept("grown")
}

func (s *fakeServer) head() (head wire.Hash) {
	s.log.View(func(st *authority.State) { head = st.Head })
	return head
}

// TestLogOfAnotherDomain: the pin is asked for the first record already.
func TestLogOfAnotherDomain(t *testing.T) {
	other := newServer(t, founding{admins: []*Key{authkey.Generate()}, threshold: 1})
	l := (&Profile{Domain: wire.DomainID{1}}).newLog()
	if err := l.take(mustRecords(t, other)[0]); err == nil || l.State != nil || len(l.fresh) != 0 {
		t.Errorf("taken: %v", err)
	}
}

// TestOfflineNeedsTheWholeCopy: a copy that ends before the head is not shown as
// the newest state.
func TestOfflineNeedsTheWholeCopy(t *testing.T) {
	_, p, _ := filled(t)
	good, err := p.readFile(recordsFile, maxRecords)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.writeFile(recordsFile, good[:len(good)-1]); err != nil {
		t.Fatal(err)
	}
	if _, err := Offline(p); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if err := p.writeFile(headFile, []byte("no head")); err != nil {
		t.Fatal(err)
	}
	if _, err := Offline(p); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a damaged head: %v", err)
	}
}

// fork gives the server another history, which agrees with the old one up to a
// position.
func (s *fakeServer) fork(t *testing.T, upTo uint64) {
	t.Helper()
	other := store.NewMem()
	for rec, err := range s.store.Read(t.Context(), 1, false) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Index > upTo {
			break
		}
		if err := other.Append(t.Context(), rec.Index-1, rec.Data); err != nil {
			t.Fatal(err)
		}
	}
	s.store, s.options.Store = other, other
	log, err := authority.Open(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
}

func (s *fakeServer) append(t testing.TB, kind string, payload any, keys ...*Key) {
	t.Helper()
	var entry []byte
	var err error
	s.log.View(func(st *authority.State) {
		body := st.NewBody(kind, authority.Object(payload), payload, s.clock.Now().Add(authority.PendingLife))
		entry, err = wire.Sign(wire.TypeBody, wire.Marshal(body))
	})
	for _, k := range keys {
		if err == nil {
			entry, err = wire.AddSignature(entry, wire.TypeBody, wire.MaxBody, k)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
}

func TestForkIsRefused(t *testing.T) {
	s, p, alice := filled(t)
	s.fork(t, 2)
	for _, name := range []string{"x", "y", "z"} { // longer than what alice saw
		s.append(t, authority.KindKeyCreate, keyCreate(name), alice)
	}
	_, err := Connect(t.Context(), p, s.with(p, nil))
	if !errors.Is(err, ErrRollback) || !strings.Contains(err.Error(), proofsDir) {
		t.Fatalf("got %v", err)
	}
	files, err := os.ReadDir(filepath.Join(p.Dir(), proofsDir))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	data, err := p.readFile(filepath.Join(proofsDir, files[0].Name()), maxRecords)
	if err != nil {
		t.Fatal(err)
	}
	var kept proof
	if err := wire.Unmarshal(data, &kept, maxRecords); err != nil {
		t.Fatal(err)
	}
	shown := p.newLog()
	if n, _ := shown.Read(kept.Records, nil); n != len(kept.Records) || shown.State.KeyNamed("z") == nil {
		t.Error("the proof does not hold what the server showed")
	}
	if kept.Seen.Epoch.Position != 4 || len(kept.Descriptor) == 0 || string(kept.Statement) != "statement" {
		t.Errorf("%+v", kept.Seen)
	}
	if st, err := Offline(p); err != nil || st.KeyNamed("c") == nil {
		t.Errorf("the profile's own copy was touched: %v", err)
	}
}

// TestRestore: only a generation that a quorum raised may go on from an earlier
// record.
func TestRestore(t *testing.T) {
	s, p, alice := filled(t)
	s.fork(t, 2)
	var at authority.State
	s.log.View(func(st *authority.State) { at = *st })
	s.append(t, members.KindRestore, members.Restore{Generation: 2, Epoch: at.Epoch, Head: at.Head, Reason: "disk lost"}, alice)
	session := s.connect(p)
	if len(session.Warnings) != 1 || session.State().Epoch.Generation != 2 || session.State().KeyNamed("c") != nil {
		t.Errorf("%q, %s", session.Warnings, session.State().Epoch)
	}
	if again := s.connect(p); len(again.Warnings) != 0 {
		t.Errorf("warned again: %q", again.Warnings)
	}
}

// TestHeadOutlivesTheCache: records and member chain gone, the head alone still
// refuses another history.
func TestHeadOutlivesTheCache(t *testing.T) {
	s, p, alice := filled(t)
	s.fork(t, 1)
	for _, name := range []string{"x", "y", "z", "w"} {
		s.append(t, authority.KindKeyCreate, keyCreate(name), alice)
	}
	for _, f := range []string{recordsFile, membersFile} {
		if err := os.Remove(filepath.Join(p.Dir(), f)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrRollback) {
		t.Errorf("got %v", err)
	}
}

func TestErrorsOfServers(t *testing.T) {
	s, p, _ := filled(t)
	session := s.connect(p)
	for code, want := range map[string]error{"sealed": ErrSealed, "denied": ErrDenied, "unauthenticated": ErrDenied, "not-found": ErrNotFound} {
		refused := &ServerError{Status: 400, Code: code, Message: "no"}
		if !errors.Is(refused, want) || errors.Is(refused, ErrIntegrity) {
			t.Errorf("%s is %v", code, refused)
		}
	}
	key, err := session.authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := session.State().NewBody(authority.KindPolicy, "nothing", authority.Policy{Source: []byte("x")}, s.clock.Now().Add(authority.PendingLife))
	body.Replaces = wire.Hash{9}
	entry, err := wire.Sign(wire.TypeBody, wire.Marshal(body), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.bring(t.Context(), entry); err == nil {
		t.Error("the server took it")
	} else if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Status != http.StatusConflict {
		t.Errorf("got %v", err)
	}
}
