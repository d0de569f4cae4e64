// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"slices"
	"testing"
	"time"

	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
	"claviger/internal/members"
)

// lost is a domain of two admins whose keys nobody has any more, with one
// recovery key and a waiting time of an hour.
func lost(t *testing.T) (s *fakeServer, rex *Session) {
	t.Helper()
	r := authkey.Generate()
	s = newServer(t, founding{admins: []*Key{authkey.Generate(), authkey.Generate()}, threshold: 2, recovery: members.Recovery{
		Keys: []members.Key{memberKey(t, "rex", r.Public())}, Threshold: 1, Wait: 3600,
	}})
	return s, s.connect(s.profile("rex", r, false))
}

func TestRecover(t *testing.T) {
	s, rex := lost(t)
	d, e := authkey.Generate(), authkey.Generate()
	dan, eli := s.profile("dan", d, false), s.profile("eli", e, false)
	keys := []members.Key{eli.Member(), dan.Member()}

	kind, announced, err := rex.Recover(keys, true)
	if err != nil {
		t.Fatal(err)
	}
	out, err := rex.Propose(t.Context(), kind, announced)
	if err != nil || !out.Applied {
		t.Fatalf("announcement: %+v, %v", out, err)
	}
	slices.Reverse(keys)
	kind, p, err := rex.Recover(keys, false)
	if err != nil || kind != members.KindRecover {
		t.Fatalf("%s, %v", kind, err)
	}
	if out, err = rex.Propose(t.Context(), kind, p); err != nil || out.Applied {
		t.Fatalf("without the new keys: %+v, %v", out, err)
	}
	w := out.Pending
	if !slices.Equal(w.Signed, []string{"rex"}) || len(w.Missing) > 0 || !slices.Equal(w.Owners, []string{"dan", "eli"}) || w.Needed != 1 {
		t.Fatalf("%+v", w)
	}

	entry := w.Entry
	for p, key := range map[*Profile]*Key{dan: d, eli: e} { // each on a machine of their own
		if entry, err = p.SignEntry(entry, key, s.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = rex.Bring(t.Context(), entry); err != nil || out.Applied {
		t.Fatalf("before its time: %+v, %v", out, err)
	}
	if w = out.Pending; len(w.Owners) > 0 || !w.Due.After(s.clock.Now()) {
		t.Fatalf("%+v", w)
	}
	s.clock.Advance(time.Hour)
	if out, err = rex.Sign(t.Context(), w); err != nil || !out.Applied {
		t.Fatalf("in its time: %+v, %v", out, err)
	}
	now := s.connect(dan)
	if got := now.State().Members.Keys; len(got.Keys) != 2 || got.Keys[0].Name != "dan" || got.Threshold != 2 {
		t.Errorf("%+v", got)
	}
	if out, err := now.Propose(t.Context(), authority.KindKeyCreate, keyCreate("k")); err != nil || !out.Applied {
		t.Errorf("the new admin: %+v, %v", out, err)
	}
}

func TestRecoverRefuses(t *testing.T) {
	s, rex := lost(t)
	one, other := s.profile("dan", authkey.Generate(), false).Member(), s.profile("eli", authkey.Generate(), false).Member()
	if _, _, err := rex.Recover([]members.Key{one, other}, false); !errors.Is(err, ErrNotAnnounced) {
		t.Errorf("unannounced: %v", err)
	}
	if _, _, err := rex.Recover([]members.Key{one}, true); err == nil {
		t.Error("fewer keys than the threshold")
	}
	if _, _, err := rex.Recover([]members.Key{one, one}, true); !errors.Is(err, members.ErrChain) {
		t.Errorf("one key twice: %v", err)
	}

	if _, p, err := rex.Recover([]members.Key{one, other}, true); err != nil {
		t.Error(err)
	} else if out, err := rex.Propose(t.Context(), authority.KindRecoverBegin, p); err != nil || !out.Applied {
		t.Errorf("%+v, %v", out, err)
	}
	rex.state.Members.Recovery.Wait = 8 * 24 * 3600 // as if
	if _, _, err := rex.Recover([]members.Key{one, other}, false); err == nil {
		t.Error("a recovery that expires before its time")
	}

	a, b := authkey.Generate(), authkey.Generate()
	for _, f := range []founding{
		{admins: []*Key{a}, threshold: 1},
		{admins: []*Key{a}, threshold: 1, recovery: members.Recovery{Keys: []members.Key{memberKey(t, "rex", b.Public())}, Threshold: 1}},
	} {
		s := newServer(t, f)
		if _, _, err := s.connect(s.profile("alice", a, false)).Recover([]members.Key{one}, true); !errors.Is(err, ErrNoRecovery) {
			t.Errorf("by an admin: %v", err)
		}
	}
}

// The owner of a new key is told apart from those who decide.
func TestNewAdminHasToSign(t *testing.T) {
	s, alice, _ := two(t)
	carol := s.profile("carol", authkey.Generate(), false)
	p, err := AddAdmin(alice.State(), carol.Member(), 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := alice.Propose(t.Context(), members.KindKeys, p)
	if err != nil {
		t.Fatal(err)
	}
	if w := out.Pending; !slices.Equal(w.Missing, []string{"bob"}) || !slices.Equal(w.Owners, []string{"carol"}) {
		t.Errorf("%+v", w)
	}
}
