// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

func TestProposeAndReplay(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	session := s.connect(p)
	for _, name := range []string{"a", "b", "c", "payments/cards"} { // more than one page
		out, err := session.Propose(t.Context(), authority.KindKeyCreate, keyCreate(name))
		if err != nil || !out.Applied {
			t.Fatalf("%s: %+v, %v", name, out, err)
		}
	}
	if session.State().KeyNamed("payments/cards") == nil || session.State().Epoch.Position != 5 {
		t.Errorf("state ends at %s", session.State().Epoch)
	}
	var st *authority.State
	if again, err := OpenProfile(p.Dir()); err != nil {
		t.Fatal(err)
	} else if st, err = Offline(again); err != nil {
		t.Fatal(err)
	}
	if st.Head != session.State().Head {
		t.Error("the profile's copy ends elsewhere")
	}
}

func TestSessionSparesThePassphrase(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	opened := 0
	connect := func() {
		t.Helper()
		session, err := Connect(t.Context(), p, s.with(p, &opened))
		if err != nil {
			t.Fatal(err)
		}
		session.Close()
	}
	connect()
	connect()
	if opened != 1 {
		t.Errorf("asked %d times for two reads within the hour", opened)
	}
	s.clock.Advance(SessionLife)
	connect()
	if opened != 2 {
		t.Errorf("asked %d times after the session ended", opened)
	}
	// The server may know better: a session that it refuses is made anew.
	if err := p.writeFile(sessionFile, wire.Marshal(sessionRecord{
		Type: typeSession, Domain: p.Domain, Seed: make([]byte, 32), Signed: []byte("no"), End: s.clock.Now().Add(time.Hour).UnixMilli(),
	})); err != nil {
		t.Fatal(err)
	}
	connect()
	if opened != 3 {
		t.Errorf("asked %d times after a refused session", opened)
	}
}

func TestRollbackIsRefusedAndKept(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	session := s.connect(p)
	genesis, err := s.log.Records(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := session.Propose(t.Context(), authority.KindKeyCreate, keyCreate(name)); err != nil {
			t.Fatal(err)
		}
	}
	// The server goes back to the genesis.
	s.lie = func(r *http.Request, _ []byte) []byte {
		if r.URL.Path != "/v1/admin/records" {
			return nil
		}
		if r.URL.Query().Get("from") == "1" {
			return wire.Marshal(genesis)
		}
		return wire.Marshal([]wire.Opened{})
	}
	if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrRollback) {
		t.Fatalf("a server that went back: %v", err)
	}
	proofs, err := os.ReadDir(filepath.Join(p.Dir(), proofsDir))
	if err != nil || len(proofs) != 1 {
		t.Errorf("proofs: %v, %v", proofs, err)
	}
	// Even when the cache is gone, the head remembers.
	if err := os.Remove(filepath.Join(p.Dir(), recordsFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrRollback) {
		t.Errorf("a server that went back, without a cache: %v", err)
	}
	// And an honest server fills the cache again.
	s.lie = nil
	if got := s.connect(p).State().Epoch.Position; got != 3 {
		t.Errorf("log of %d records", got)
	}
}

func TestServersThatLie(t *testing.T) {
	alice, mallory := authkey.Generate(), authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	other := newServer(t, founding{admins: []*Key{mallory}, threshold: 1})
	if _, err := s.connect(s.profile("alice", alice, false)).Propose(t.Context(), authority.KindKeyCreate, keyCreate("a")); err != nil {
		t.Fatal(err)
	}
	chain := func(s *fakeServer) (out [][]byte) {
		s.log.View(func(st *authority.State) { out = st.Members.Chain })
		return out
	}
	introduction := func(change func(d *wire.Descriptor)) func(*http.Request, []byte) []byte {
		return func(r *http.Request, _ []byte) []byte {
			if r.URL.Path != "/v1/introduction" {
				return nil
			}
			d := s.descriptor()
			change(&d)
			return s.introduce(d, chain(s))
		}
	}
	records := func(change func(o []wire.Opened) []wire.Opened) func(*http.Request, []byte) []byte {
		return func(r *http.Request, honest []byte) []byte {
			var page []wire.Opened
			if r.URL.Path != "/v1/admin/records" || wire.Unmarshal(honest, &page, maxPage) != nil || len(page) == 0 {
				return nil
			}
			return wire.Marshal(change(page))
		}
	}
	day := int64(24 * time.Hour / time.Millisecond)
	for name, c := range map[string]struct {
		lie  func(*http.Request, []byte) []byte
		want error
	}{
		"another domain's chain": {func(r *http.Request, _ []byte) []byte {
			if r.URL.Path == "/v1/introduction" {
				return other.introduction()
			}
			return nil
		}, members.ErrChain},
		"a descriptor by a key that never joined": {func(r *http.Request, _ []byte) []byte {
			if r.URL.Path == "/v1/introduction" {
				return other.introduce(other.descriptor(), chain(s))
			}
			return nil
		}, ErrIntegrity},
		"a descriptor of another domain":  {introduction(func(d *wire.Descriptor) { d.Domain = wire.DomainID{1} }), ErrIntegrity},
		"a descriptor of another TLS key": {introduction(func(d *wire.Descriptor) { d.TLS = wire.Hash{1} }), ErrIntegrity},
		"a descriptor that ended":         {introduction(func(d *wire.Descriptor) { d.Issued -= 2 * day; d.NotAfter -= 2 * day }), ErrUnreachable},
		"a descriptor of tomorrow":        {introduction(func(d *wire.Descriptor) { d.Issued += day; d.NotAfter += day }), ErrUnreachable},
		"an introduction that is cut":     {func(r *http.Request, h []byte) []byte { return h[:len(h)-1] }, ErrIntegrity},
		"no records at all":               {records(func([]wire.Opened) []wire.Opened { return []wire.Opened{} }), ErrIntegrity},
		"a record that was changed":       {records(func(o []wire.Opened) []wire.Opened { o[0].Link.Time++; return o }), ErrIntegrity},
		"a body that was changed":         {records(func(o []wire.Opened) []wire.Opened { o[len(o)-1].Entry[100] ^= 1; return o }), ErrIntegrity},
		"a genesis of another domain":     {records(func([]wire.Opened) []wire.Opened { return mustRecords(t, other) }), ErrIntegrity},
		"records that are no CBOR":        {func(r *http.Request, h []byte) []byte { return ifRecords(r, []byte("{}")) }, ErrIntegrity},
		"an answer beyond the limit":      {func(r *http.Request, h []byte) []byte { return ifRecords(r, make([]byte, maxPage+1)) }, ErrIntegrity},
		"records from the future":         {records(func(o []wire.Opened) []wire.Opened { return future(o) }), ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.profile("alice", alice, false)
			s.lie = c.lie
			defer func() { s.lie = nil }()
			session, err := Connect(t.Context(), p, s.with(p, nil))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if session != nil {
				t.Error("a session in spite of it")
			}
		})
	}
}

func mustRecords(t *testing.T, s *fakeServer) []wire.Opened {
	t.Helper()
	o, err := s.log.Records(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func ifRecords(r *http.Request, answer []byte) []byte {
	if r.URL.Path != "/v1/admin/records" {
		return nil
	}
	return answer
}

// future moves a genesis two minutes ahead; nothing else in a genesis' link
// depends on its time.
func future(o []wire.Opened) []wire.Opened {
	if len(o) > 0 && o[0].Link.Epoch.Position == 1 {
		o[0].Link.Time += 120_000
		return o[:1]
	}
	return []wire.Opened{}
}

func TestMemberChainNeverGoesBack(t *testing.T) {
	alice, bob := authkey.Generate(), authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	session := s.connect(p)
	var before [][]byte
	s.log.View(func(st *authority.State) { before = st.Members.Chain })
	keys := members.Keys{Keys: append([]members.Key{}, session.State().Members.Keys.Keys...), Threshold: 1}
	keys.Keys = append(keys.Keys, memberKey(t, "bob", bob.Public()))
	out, err := session.Propose(t.Context(), members.KindKeys, keys)
	if err != nil || out.Applied {
		t.Fatalf("a new key without its own signature: %+v, %v", out, err)
	}
	// Bob signs with his own profile, made before he is a member: the entry by file.
	entry, err := wire.AddSignature(out.Pending.Entry, wire.TypeBody, wire.MaxBody, bob)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := session.bring(t.Context(), entry); err != nil || !got.Applied {
		t.Fatalf("with bob's signature: %+v, %v", got, err)
	}
	s.lie = func(r *http.Request, _ []byte) []byte {
		if r.URL.Path == "/v1/introduction" {
			return s.introduce(s.descriptor(), before)
		}
		return nil
	}
	if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrRollback) {
		t.Errorf("an older member chain: %v", err)
	}
}

func TestDemoAndRealDontMix(t *testing.T) {
	alice := authkey.Generate()
	for _, demo := range []bool{false, true} {
		s := newServer(t, founding{admins: []*Key{alice}, threshold: 1, demo: demo})
		p := s.profile("alice", alice, !demo)
		if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrDemo) {
			t.Errorf("demo domain %v: %v", demo, err)
		}
		s.connect(s.profile("alice", alice, demo))
	}
}

func TestWhoIsNoAdminIsNotAsked(t *testing.T) {
	alice, mallory := authkey.Generate(), authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("mallory", mallory, false)
	opened := 0
	if _, err := Connect(t.Context(), p, s.with(p, &opened)); !errors.Is(err, ErrNotMember) || opened != 0 {
		t.Errorf("%v, asked %d times", err, opened)
	}
}

func TestFailover(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	p := s.profile("alice", alice, false)
	if err := p.Join(p.Domain, []string{"127.0.0.1:1", s.address}, nil); err != nil {
		t.Fatal(err)
	}
	if got := s.connect(p).Address(); got != s.address {
		t.Errorf("reached %s", got)
	}
	if err := p.Join(p.Domain, []string{"127.0.0.1:1"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(t.Context(), p, s.with(p, nil)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestReads(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	session := s.connect(s.profile("alice", alice, false))
	if status, err := session.Status(t.Context()); err != nil || status.Audit.Leaves != 1005 {
		t.Errorf("%+v, %v", status, err)
	}
	for n, first := range map[int]uint64{3: 1002, 1001: 4, 5000: 0} {
		leaves, err := session.Recent(t.Context(), n)
		if err != nil || leaves[0].Index != first || leaves[len(leaves)-1].Index != 1004 {
			t.Errorf("%d newest: %d, %v", n, len(leaves), err)
		}
	}
	var count counter
	if n, err := session.Export(t.Context(), &count); err != nil || n != 8000 || count != 8000 {
		t.Errorf("%d, %v", n, err)
	}
	before := s.writes.Load()
	if _, err := session.Backup(t.Context(), &count); err != nil || s.writes.Load() != before+1 {
		t.Errorf("a backup not signed by the authority key: %v", err)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
