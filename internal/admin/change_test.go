// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/admin/authkey"
	"claviger/internal/admin/change"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// two is a domain of two admins who both have to sign.
func two(t *testing.T) (s *fakeServer, alice, bob *Session) {
	t.Helper()
	a, b := authkey.Generate(), authkey.Generate()
	s = newServer(t, founding{admins: []*Key{a, b}, threshold: 2})
	return s, s.connect(s.profile("alice", a, false)), s.connect(s.profile("bob", b, false))
}

const permitAll = "@id(\"all\")\npermit (principal, action, resource);\n"

func TestQuorum(t *testing.T) {
	_, alice, bob := two(t)
	out, err := alice.Propose(t.Context(), authority.KindPolicy, authority.Policy{Source: []byte(permitAll)})
	if err != nil || out.Applied || !slices.Equal(out.Pending.Signed, []string{"alice"}) || !slices.Equal(out.Pending.Missing, []string{"bob"}) {
		t.Fatalf("%+v, %v", out, err)
	}
	w, err := bob.Find(t.Context(), out.Pending.Body.ID.String()[:8])
	if err != nil {
		t.Fatal(err)
	}
	change, err := change.Describe(bob.State(), w.Body)
	if err != nil || !strings.Contains(strings.Join(change.Lines, "\n"), "+ permit (principal, action, resource);") {
		t.Fatalf("%+v, %v", change, err)
	}
	done, err := bob.Sign(t.Context(), w)
	if err != nil || !done.Applied || string(bob.State().Policy.Source) != permitAll {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := bob.Find(t.Context(), w.Body.ID.String()); !errors.Is(err, ErrNoSuchChange) {
		t.Errorf("still waiting: %v", err)
	}
	if _, err := bob.Sign(t.Context(), w); err == nil {
		t.Error("signed twice")
	}
}

func TestFindIsExact(t *testing.T) {
	_, alice, _ := two(t)
	if _, err := alice.Propose(t.Context(), authority.KindPolicy, authority.Policy{Source: []byte(permitAll)}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "1234567", "ABCDEF01", "../../..", "00000000000000000000000000000000"} {
		if _, err := alice.Find(t.Context(), id); !errors.Is(err, ErrNoSuchChange) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestOvertakenIsNotSigned(t *testing.T) {
	s, alice, bob := two(t)
	propose := func(p authority.Policy) *Waiting {
		t.Helper()
		out, err := alice.Propose(t.Context(), authority.KindPolicy, p)
		if err != nil {
			t.Fatal(err)
		}
		return out.Pending
	}
	first, second := propose(authority.Policy{Source: []byte(permitAll)}), propose(authority.Policy{Source: []byte("// none\n")})
	late := *second
	if _, err := bob.Sign(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w, err := bob.Judge(late.Entry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Sign(t.Context(), w); !errors.Is(err, ErrOvertaken) {
		t.Errorf("a change of what was changed since: %v", err)
	}
	if _, err := bob.Bring(t.Context(), late.Entry); !errors.Is(err, ErrOvertaken) {
		t.Errorf("brought: %v", err)
	}
	if err := alice.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := propose(authority.Policy{Source: []byte("// three\n")})
	s.clock.Advance(authority.PendingLife + time.Minute)
	if w, err = bob.Judge(third.Entry); err != nil || w.Problem == "" {
		t.Errorf("expired: %+v, %v", w, err)
	}
}

func TestServersThatLieAboutChanges(t *testing.T) {
	s, alice, _ := two(t)
	answer := func(path string, body []byte) {
		s.lie = func(r *http.Request, _ []byte) []byte {
			if r.URL.Path == path {
				return body
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		path string
		body string
	}{
		"applied, it says": {"/v1/admin/entries", `{"applied":true,"epoch":"1.2"}`},
		"no JSON":          {"/v1/admin/entries", `yes`},
		"kept, it says":    {"/v1/admin/pending", "\x80"},
	} {
		answer(c.path, []byte(c.body))
		if out, err := alice.Propose(t.Context(), authority.KindPolicy, authority.Policy{Source: []byte(permitAll)}); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

// TestWhatCantBeShownIsNotSigned: bodies of kinds that no person signs, of
// unknown kinds, and whose payload has something left over.
func TestWhatCantBeShownIsNotSigned(t *testing.T) {
	_, alice, bob := two(t)
	key, err := bob.p.Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	policySet := wire.Marshal(authority.Policy{Source: []byte(permitAll)})
	for name, c := range map[string]struct {
		kind    string
		payload []byte
	}{
		"a server's kind": {authority.KindKeyVersion, wire.Marshal(authority.KeyVersion{})},
		"an unknown kind": {"key.give", policySet},
		"trailing bytes":  {authority.KindPolicy, append(slices.Clone(policySet), 0)},
		"another payload": {authority.KindKeyDestroy, policySet},
	} {
		body := alice.State().NewBody(c.kind, "policy", authority.Policy{}, alice.o.Clock.Now().Add(time.Hour))
		body.Payload = c.payload
		entry, err := wire.Sign(wire.TypeBody, wire.Marshal(body), authkey.Generate())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Sign(t.Context(), &Waiting{Entry: entry, Body: &body}); !errors.Is(err, change.ErrUnreadable) {
			t.Errorf("%s signed: %v", name, err)
		}
		if _, err := bob.p.SignEntry(entry, key, alice.o.Clock.Now()); !errors.Is(err, change.ErrUnreadable) {
			t.Errorf("%s signed from a file: %v", name, err)
		}
	}
}

// TestNewAdminSignsAFile: a key that is to become an admin's signs offline.
func TestNewAdminSignsAFile(t *testing.T) {
	alice, bob := authkey.Generate(), authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	session := s.connect(s.profile("alice", alice, false))
	bobs := s.profile("bob", bob, false)
	keys, err := AddAdmin(session.State(), bobs.Member(), 2)
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Propose(t.Context(), members.KindKeys, keys)
	if err != nil || out.Applied {
		t.Fatalf("%+v, %v", out, err)
	}
	entry, body, err := ParseEntry(FormatEntry(out.Pending.Entry) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if change, err := change.DescribeAlone(body); err != nil || !strings.Contains(strings.Join(change.Lines, "\n"), authkey.FormatPublic(bobs.public)) {
		t.Errorf("%+v, %v", change, err)
	}
	signed, err := bobs.SignEntry(entry, bob, s.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if done, err := session.Bring(t.Context(), signed); err != nil || !done.Applied {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := session.State().Members.Keys; len(got.Keys) != 2 || got.Threshold != 2 {
		t.Errorf("%+v", got)
	}
	s.connect(bobs)
	other := s.profile("carol", authkey.Generate(), false)
	other.Domain = wire.DomainID{1}
	if _, err := other.SignEntry(entry, authkey.Generate(), s.clock.Now()); !errors.Is(err, ErrOtherDomain) {
		t.Errorf("another domain's change: %v", err)
	}
	if _, err := bobs.SignEntry(entry, authkey.Generate(), s.clock.Now().Add(2*authority.PendingLife)); !errors.Is(err, ErrOvertaken) {
		t.Errorf("an expired change: %v", err)
	}
}

func TestChangesAgainstTheState(t *testing.T) {
	alice := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{alice}, threshold: 1})
	session := s.connect(s.profile("alice", alice, false))
	create := keyCreate("payments/cards")
	if _, err := session.Propose(t.Context(), authority.KindKeyCreate, create); err != nil {
		t.Fatal(err)
	}
	settings := create.Settings
	settings.Lease = 60
	settings.Tags = []authority.Tag{{Name: "env", Value: "prod"}}
	body, err := wire.ParseBody(session.Prepare(authority.KindKeySettings, authority.KeySettings{ID: create.ID, Settings: settings}))
	if err != nil {
		t.Fatal(err)
	}
	change, err := change.Describe(session.State(), body)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"- lease: 1h0m0s", "+ lease: 1m0s", "  staleness: 15m0s", "- tags: none", `+ tags: env="prod"`}
	for _, line := range want {
		if !slices.Contains(change.Lines, line) {
			t.Errorf("%q is missing in %q", line, change.Lines)
		}
	}
	if change.Summary != "change the settings of key payments/cards" {
		t.Error(change.Summary)
	}
}

func TestBuilders(t *testing.T) {
	s, alice, _ := two(t)
	st := alice.State()
	if id, err := ClientID(st, "app1"); err != nil || id != "spiffe://acme/workload/app1" || ClientName(st, id) != "app1" {
		t.Errorf("%s, %v", id, err)
	}
	if id, err := ClientID(st, "spiffe://other/workload/x"); err != nil || ClientName(st, id) != id {
		t.Errorf("%s, %v", id, err)
	}
	if _, err := ClientID(st, "App 1"); err == nil {
		t.Error("an unusable name")
	}
	if _, err := KeyNamed(st, "none"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := SetPolicy(st, []byte("permit"), ""); err == nil {
		t.Error("a source that is no policy")
	}
	if _, err := SetPolicy(st, nil, ""); !errors.Is(err, ErrNoChange) {
		t.Error(err)
	}
	if p, id, err := Allow(st, "app1", "payments/cards", nil, "why"); err != nil || id != "allow-app1:payments/cards" || p.Reason != "why" {
		t.Errorf("%+v, %s, %v", p, id, err)
	}
	if _, err := RemoveAdmin(st, "nobody", 0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := RemoveAdmin(st, "bob", 0); err == nil {
		t.Error("a threshold that nobody can meet")
	}
	if k, err := RemoveAdmin(st, "bob", 1); err != nil || len(k.Keys) != 1 {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := ParseTags([]string{"a=1", "a=2"}); err == nil {
		t.Error("a tag twice")
	}
	if tags, err := ParseTags([]string{"b=2", "a=1=1"}); err != nil || tags[0].Name != "a" || tags[0].Value != "1=1" {
		t.Errorf("%v, %v", tags, err)
	}
	inv, p, err := alice.Invite("spiffe://acme/workload/app1", time.Hour)
	if err != nil || len(inv.Seed) != 32 || p.ID != inv.ID || inv.Expires != s.clock.Now().Add(time.Hour).UnixMilli() {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := wire.ParseInvite(inv.Text()); err != nil {
		t.Error(err)
	}
	for _, life := range []time.Duration{0, 2 * time.Hour} {
		if _, _, err := alice.Invite("spiffe://acme/workload/app1", life); err == nil {
			t.Errorf("an invite for %v", life)
		}
	}
	if inv, p, err := alice.Invite("spiffe://elsewhere/workload/x", time.Hour); err != nil || p != nil || inv.Seed != nil {
		t.Errorf("under an outside CA: %+v, %v", p, err)
	}
}
