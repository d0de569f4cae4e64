// SPDX-License-Identifier: Apache-2.0

package policyset

import (
	"bytes"
	"testing"

	"claviger/internal/audit/attributes"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

func aliceOf(account string) *authn.Caller {
	return authn.SubjectCaller(authn.SubjectClaims{
		Endpoint: "xks-prod", EndpointKind: "xks", Name: "alice", Attributes: map[string]any{"account": account},
	})
}

func subjectOf(t *testing.T, c *authn.Caller, asked map[string]string) *Subject {
	t.Helper()
	s, err := SubjectOf(c, asked)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asksFor is a question of a door's subject.
func asksFor(s *Subject, key string) Question {
	q := asks(5, &authority.Key{Algorithm: authority.AES256, Name: key, ID: wire.KeyID{1}})
	q.Caller, q.Subject = "", s
	return q
}

// TestSubjectsClaimsDecide: two requests of one subject whose claims differ never
// share an answer, in whatever order they come, although no policy reads the
// context and every answer may be remembered.
func TestSubjectsClaimsDecide(t *testing.T) {
	s := setOf(t, `permit (principal in Endpoint::"xks-prod", action, resource) when { principal has account && principal.account == "1" };`)
	for range 3 {
		for account, allowed := range map[string]bool{"1": true, "2": false} {
			for _, asked := range []map[string]string{nil, {"kmsOperation": "Encrypt"}, {"kmsOperation": "Decrypt"}} {
				if d := s.Ask(asksFor(subjectOf(t, aliceOf(account), asked), "a/k")); d.Allowed != allowed || d.Alarm {
					t.Errorf("account %s, asked %v: %+v", account, asked, d)
				}
			}
		}
	}
	if n := len(s.decisions.known); n != 6 {
		t.Errorf("%d remembered", n)
	}
}

// TestSubjectsRequestDecides: likewise of what the door says, where a policy asks
// for it for one key and not for another.
func TestSubjectsRequestDecides(t *testing.T) {
	s := setOf(t, `permit (principal, action, resource == Key::"a/k") when { context has kmsOperation && context.kmsOperation == "Encrypt" };
permit (principal, action, resource == Key::"a/l");`)
	for range 3 {
		for operation, allowed := range map[string]bool{"Encrypt": true, "Decrypt": false} {
			subject := subjectOf(t, aliceOf("1"), map[string]string{"kmsOperation": operation})
			if d := s.Ask(asksFor(subject, "a/k")); d.Allowed != allowed {
				t.Errorf("%s: %+v", operation, d)
			}
			if d := s.Ask(asksFor(subject, "a/l")); !d.Allowed {
				t.Errorf("another key: %+v", d)
			}
		}
	}
}

// TestSubjectIsNoWorkload: a subject and a workload never share an answer, nor do
// subjects of two endpoints.
func TestSubjectIsNoWorkload(t *testing.T) {
	s := setOf(t, `permit (principal is Workload, action, resource);`)
	for range 2 {
		q := asks(5, &authority.Key{Algorithm: authority.AES256, Name: "a/k", ID: wire.KeyID{1}})
		if d := s.Ask(q); !d.Allowed {
			t.Errorf("workload: %+v", d)
		}
		q.Subject = subjectOf(t, aliceOf("1"), nil)
		if d := s.Ask(q); d.Allowed {
			t.Errorf("subject: %+v", d)
		}
	}
	one := setOf(t, `permit (principal == Subject::"xks-prod:alice", action, resource);`)
	other := authn.SubjectCaller(authn.SubjectClaims{Endpoint: "xks-test", EndpointKind: "xks", Name: "alice", Attributes: map[string]any{"account": "1"}})
	for range 2 {
		for c, allowed := range map[*authn.Caller]bool{aliceOf("1"): true, other: false} {
			if d := one.Ask(asksFor(subjectOf(t, c, nil), "a/k")); d.Allowed != allowed {
				t.Errorf("%s: %+v", c.ID, d)
			}
		}
	}
}

// TestSubjectRecord: the record says what policy saw.
func TestSubjectRecord(t *testing.T) {
	s := subjectOf(t, aliceOf("1"), map[string]string{"kmsOperation": "Encrypt"})
	r, err := attributes.Parse(s.Record)
	if err != nil || r.Principal != "Subject" || r.Proved()["account"] != "1" || r.Proved()["kind"] != "xks" || r.Asked()["kmsOperation"] != "Encrypt" {
		t.Errorf("%+v, %v", r, err)
	}
	if again := subjectOf(t, aliceOf("1"), map[string]string{"kmsOperation": "Encrypt"}); !bytes.Equal(again.Record, s.Record) {
		t.Error("the same claims make another record")
	}
	for name, c := range map[string]*authn.Caller{
		"a server": authn.LocalCaller("health"), "nobody": {}, "no verifier's": {Kind: authn.Subject, ID: "a:b", Endpoint: "c"},
	} {
		if s, err := SubjectOf(c, nil); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s, err := SubjectOf(aliceOf("1"), map[string]string{"sourceVpc": ""}); err == nil {
		t.Errorf("an empty claim: %+v", s)
	}
}

// FuzzSubject: whatever authn takes as a subject policy can decide on, without an
// alarm: else a stranger's name would raise one.
func FuzzSubject(f *testing.F) {
	f.Add("xks-prod", "arn:aws:iam::123456789012:user/Alice", "123456789012")
	f.Add("kes", "alice\u3164", "x")
	f.Add("a", "b:c//d \u00e9", "\u202e")
	set, err := policy.Parse([]byte(`permit (principal is Subject, action, resource);`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, endpoint, name, account string) {
		c := authn.SubjectCaller(authn.SubjectClaims{Endpoint: endpoint, EndpointKind: "xks", Name: name, Attributes: map[string]any{"account": account}})
		if !c.Proved() {
			return
		}
		if !wire.ValidSubject(c.ID) {
			t.Fatalf("%q can't be revoked by name", c.ID)
		}
		s, err := SubjectOf(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := (&Set{Set: set}).Ask(asksFor(s, "a/k")); !d.Allowed || d.Alarm {
			t.Fatalf("%q: %+v", c.ID, d)
		}
	})
}
