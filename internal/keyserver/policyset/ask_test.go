// SPDX-License-Identifier: Apache-2.0

package policyset

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

func setOf(t *testing.T, source string) *Set {
	t.Helper()
	s, err := policy.Parse([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return &Set{Set: s}
}

// asks is a question of app1 about a key, at a position of the log.
func asks(position uint64, key *authority.Key) Question {
	return Question{
		Epoch: wire.Epoch{Generation: 1, Position: position}, Domain: "acme.example", Caller: "spiffe://acme.example/workload/app1",
		Action: "encrypt", Key: key, Context: policy.Context{Time: time.Unix(1_800_000_000, 0), Route: "native"},
	}
}

// TestAskFollowsTheLog: what was decided for one epoch is not said of another.
func TestAskFollowsTheLog(t *testing.T) {
	s := setOf(t, `permit (principal, action, resource) when { resource.hasTag("env") && resource.getTag("env") == "test" };`)
	test := &authority.Key{Algorithm: authority.AES256, Name: "k", ID: wire.KeyID{1}, Settings: authority.Settings{Tags: []authority.Tag{{Name: "env", Value: "test"}}}}
	real := &authority.Key{Algorithm: authority.AES256, Name: "k", ID: wire.KeyID{1}, Settings: authority.Settings{Tags: []authority.Tag{{Name: "env", Value: "real"}}}}
	for _, step := range []struct {
		position uint64
		key      *authority.Key
		allowed  bool
	}{{5, test, true}, {6, real, false}, {6, real, false}, {5, test, true}, {6, real, false}, {7, test, true}} {
		if d := s.Ask(asks(step.position, step.key)); d.Allowed != step.allowed {
			t.Errorf("at %d: %+v", step.position, d)
		}
	}
}

// TestAskTellsApart: every part of a question is one of its answer.
func TestAskTellsApart(t *testing.T) {
	s := setOf(t, `permit (principal == Workload::"spiffe://acme.example/workload/app1", action == Action::"encrypt", resource == Key::"a/k") when { principal has path };`)
	key := &authority.Key{Algorithm: authority.AES256, Name: "a/k", ID: wire.KeyID{1}}
	for range 2 {
		for name, q := range map[string]func(*Question){
			"":       func(*Question) {},
			"caller": func(q *Question) { q.Caller = "spiffe://acme.example/workload/app2" },
			"action": func(q *Question) { q.Action = "decrypt" },
			"key":    func(q *Question) { q.Key = &authority.Key{Algorithm: authority.AES256, Name: "a/l", ID: wire.KeyID{1}} },
			"domain": func(q *Question) { q.Domain = "other.example" },
		} {
			question := asks(5, key)
			q(&question)
			if d := s.Ask(question); d.Allowed != (name == "") {
				t.Errorf("another %q: %+v", name, d)
			}
		}
	}
}

// TestAskAboutSecrets: a secret is no key of its name, and lies in its folders.
func TestAskAboutSecrets(t *testing.T) {
	s := setOf(t, `permit (principal, action == Action::"secret:read", resource in Folder::"secrets/app");
permit (principal, action == Action::"encrypt", resource == Key::"secrets/app/db");`)
	secret := asks(5, nil)
	secret.Action, secret.Secret = "secret:read", "secrets/app/db"
	key := asks(5, &authority.Key{Algorithm: authority.AES256, Name: "secrets/app/db", ID: wire.KeyID{1}})
	for range 2 {
		for name, c := range map[string]struct {
			change  func(*Question)
			allowed bool
		}{
			"itself":     {func(*Question) {}, true},
			"deeper":     {func(q *Question) { q.Secret = "secrets/app/b/Team A" }, true},
			"elsewhere":  {func(q *Question) { q.Secret = "secrets/apps/db" }, false},
			"writing":    {func(q *Question) { q.Action = "secret:write" }, false},
			"like a key": {func(q *Question) { q.Action = "encrypt" }, false},
		} {
			q := secret
			c.change(&q)
			if d := s.Ask(q); d.Allowed != c.allowed {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if d := s.Ask(key); !d.Allowed {
			t.Errorf("the key of that name: %+v", d)
		}
	}
}

// TestAskLooksAtTheContext: what depends on the context is decided each time, and
// a context that no request may have is refused whatever was said before.
func TestAskLooksAtTheContext(t *testing.T) {
	s := setOf(t, `permit (principal, action, resource) when { context has reason && context.reason == "maintenance" };`)
	q := asks(5, &authority.Key{Algorithm: authority.AES256, Name: "k"})
	for _, reason := range []string{"", "maintenance", "fun", "maintenance"} {
		q.Context.Reason = reason
		if d := s.Ask(q); d.Allowed != (reason == "maintenance") {
			t.Errorf("reason %q: %+v", reason, d)
		}
	}
	always := setOf(t, `permit (principal, action, resource);`)
	for _, change := range []func(*policy.Context){
		func(c *policy.Context) {}, func(c *policy.Context) { c.Time = time.Time{} },
		func(c *policy.Context) { c.Partition = strings.Repeat("p", 257) }, func(c *policy.Context) { c.Reason = strings.Repeat("r", 5000) },
	} {
		q := asks(5, &authority.Key{Algorithm: authority.AES256, Name: "k"})
		change(&q.Context)
		if d := always.Ask(q); d.Allowed == (q.Context.Check() != nil) {
			t.Errorf("context %v: %+v", q.Context.Check(), d)
		}
	}
}

// TestAskIsBounded: asking for what isn't there takes no more room than some, and
// an error is an alarm each time.
func TestAskIsBounded(t *testing.T) {
	s := setOf(t, `permit (principal, action, resource == Key::"k");`)
	for i := range maxRemembered + 1000 {
		s.Ask(asks(5, &authority.Key{Algorithm: authority.AES256, Name: fmt.Sprintf("absent/k%d", i)}))
	}
	if n := len(s.decisions.known); n != maxRemembered {
		t.Errorf("%d remembered", n)
	}
	broken := setOf(t, `permit (principal, action, resource) when { resource has attestation && resource.attestation * 9223372036854775807 > 0 };`)
	for range 2 {
		if d := broken.Ask(asks(5, &authority.Key{Algorithm: authority.AES256, Name: "k", Settings: authority.Settings{Attestation: "tee"}})); d.Allowed || !d.Alarm {
			t.Errorf("%+v", d)
		}
	}
	if n := len(broken.decisions.known); n != 0 {
		t.Errorf("%d errors remembered", n)
	}
}
