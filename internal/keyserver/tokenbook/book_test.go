// SPDX-License-Identifier: Apache-2.0

package tokenbook

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"claviger/internal/authn/bearer"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

func start() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func newBook(s store.Slots) Book {
	return Book{Store: s, Seal: secret.Take(bytes.Repeat([]byte{7}, 32)), Domain: wire.DomainID{1}}
}

func TestMarks(t *testing.T) {
	b := newBook(store.NewMem())
	one, two, three := bearer.ID{1}, bearer.ID{2}, bearer.ID{3}
	mark := func(action string, id bearer.ID, until time.Duration, now time.Time) error {
		return b.Mark(t.Context(), "vault", "alice", Mark{action, id, start().Add(until)}, now)
	}
	for _, m := range []Mark{{Revoke, one, start().Add(time.Hour)}, {Renew, two, start().Add(2 * time.Hour)}, {Issue, three, start().Add(time.Hour)}} {
		if err := b.Mark(t.Context(), "vault", "alice", m, start()); err != nil {
			t.Fatal(err)
		}
	}
	p, err := newBook(b.Store).Read(t.Context(), "vault") // another server
	if err != nil {
		t.Fatal(err)
	}
	if !p.Revoked(three, one) || p.Revoked(two, three) || !p.Renewed(two).Equal(start().Add(2*time.Hour)) || !p.Renewed(one).IsZero() || p.Len() != 2 {
		t.Errorf("%+v", p)
	}
	if err := mark(Renew, one, time.Hour, start()); !errors.Is(err, ErrEnded) {
		t.Errorf("renewing what is revoked: %v", err)
	}
	if err := mark(Revoke, two, time.Minute, start()); err != nil {
		t.Fatal(err)
	}
	// A revoked token that was renewed is remembered until that would have ended.
	if err := mark(Renew, three, 3*time.Hour, start().Add(90*time.Minute)); err != nil {
		t.Fatal(err)
	}
	p, _ = b.Read(t.Context(), "vault")
	if !p.Revoked(two) || p.Revoked(one) || p.Len() != 2 {
		t.Errorf("%+v", p)
	}
	if other, err := b.Read(t.Context(), "other"); err != nil || other.Len() != 0 {
		t.Errorf("%+v, %v", other, err)
	}
}

// TestPageOfAnother: what the store changed, or took from elsewhere, is no page.
func TestPageOfAnother(t *testing.T) {
	s := store.NewMem()
	b := newBook(s)
	if err := b.Mark(t.Context(), "vault", "alice", Mark{Revoke, bearer.ID{1}, start().Add(time.Hour)}, start()); err != nil {
		t.Fatal(err)
	}
	sealed, version, _ := s.Get(t.Context(), prefix+"vault")
	for name, value := range map[string][]byte{
		"changed": append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), "short": sealed[:4],
	} {
		if err := s.Put(t.Context(), prefix+"vault", version, value); err != nil {
			t.Fatal(err)
		}
		if p, err := b.Read(t.Context(), "vault"); !errors.Is(err, ErrStore) || p != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Mark(t.Context(), "vault", "alice", Mark{Revoke, bearer.ID{1}, start()}, start()); !errors.Is(err, ErrStore) {
			t.Errorf("%s: %v", name, err)
		}
		_, version, _ = s.Get(t.Context(), prefix+"vault")
	}
	if err := s.Put(t.Context(), prefix+"other", 0, sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(t.Context(), "other"); !errors.Is(err, ErrStore) {
		t.Errorf("another endpoint's: %v", err)
	}
}

// TestJoin: a server that runs goes on refusing what an older page has forgotten.
func TestJoin(t *testing.T) {
	s := store.NewMem()
	b := newBook(s)
	if err := b.Mark(t.Context(), "vault", "alice", Mark{Revoke, bearer.ID{1}, start().Add(time.Hour)}, start()); err != nil {
		t.Fatal(err)
	}
	seen, _ := b.Read(t.Context(), "vault")
	if err := s.Put(t.Context(), prefix+"vault", 1, nil); err != nil {
		t.Fatal(err)
	}
	now, _ := b.Read(t.Context(), "vault")
	if now.Revoked(bearer.ID{1}) {
		t.Fatal("the slot is gone and still says so")
	}
	if !now.Join(seen, start()).Revoked(bearer.ID{1}) {
		t.Error("a revocation that was seen is forgotten")
	}
	if now.Join(seen, start().Add(2*time.Hour)).Revoked(bearer.ID{1}) || now.Join(nil, start()) != now {
		t.Error("what has ended is kept")
	}
}

func TestTogether(t *testing.T) {
	s := store.NewMem()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				err := newBook(s).Mark(t.Context(), "vault", "alice", Mark{Revoke, bearer.ID{byte(i + 1)}, start().Add(time.Hour)}, start())
				if err == nil {
					return
				}
				if !errors.Is(err, ErrStore) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if p, err := newBook(s).Read(t.Context(), "vault"); err != nil || p.Len() != 4 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestFull(t *testing.T) {
	p := &Page{map[bearer.ID]entry{}}
	for i := range MaxMarks {
		p.entries[bearer.ID{byte(i), byte(i >> 8), byte(i >> 16)}] = entry{until: start().Unix() + 1}
	}
	if _, err := p.add(1, Mark{Renew, bearer.ID{15: 1}, start()}, start()); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if changed, err := p.add(1, Mark{Revoke, bearer.ID{}, start().Add(time.Hour)}, start()); err != nil || !changed || !p.Revoked(bearer.ID{}) {
		t.Errorf("what is there already: %v", err)
	}
	if changed, err := p.add(1, Mark{Revoke, bearer.ID{}, start().Add(time.Minute)}, start()); err != nil || changed {
		t.Errorf("once more: changed %v, %v", changed, err)
	}
	if _, err := p.add(1, Mark{Renew, bearer.ID{15: 1}, start().Add(time.Hour)}, start().Add(time.Second)); err != nil || p.Len() != 2 {
		t.Errorf("once they have ended: %v, %d", err, p.Len())
	}
}

// TestOneSubjectFillsNoPage: whoever makes tokens and ends them keeps nobody else
// from ending theirs.
func TestOneSubjectFillsNoPage(t *testing.T) {
	p := &Page{map[bearer.ID]entry{}}
	greedy, other := ofSubject("vault:token:greedy"), ofSubject("vault:token:ci")
	for i := range MaxMarks / 2 {
		p.entries[bearer.ID{byte(i), byte(i >> 8), byte(i >> 16)}] = entry{until: start().Unix() + 60, of: greedy}
	}
	later := start().Add(time.Hour)
	if _, err := p.add(greedy, Mark{Revoke, bearer.ID{15: 1}, later}, start()); !errors.Is(err, ErrFull) {
		t.Errorf("one subject has more than half: %v", err)
	}
	if _, err := p.add(greedy, Mark{Revoke, bearer.ID{}, later}, start()); err != nil {
		t.Errorf("and can't revoke what it has renewed: %v", err)
	}
	if _, err := p.add(other, Mark{Revoke, bearer.ID{15: 2}, later}, start()); err != nil {
		t.Errorf("another can't revoke: %v", err)
	}
	var again Page
	again.entries = map[bearer.ID]entry{}
	if err := again.decode(p.encode()); err != nil || again.entries[bearer.ID{15: 2}] != p.entries[bearer.ID{15: 2}] {
		t.Errorf("%+v, %v", again.entries[bearer.ID{15: 2}], err)
	}
}

func FuzzPage(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1}, row))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Page{map[bearer.ID]entry{}}
		if p.decode(data) == nil && len(p.encode()) != len(data) {
			t.Fatal("read in two ways")
		}
	})
}
