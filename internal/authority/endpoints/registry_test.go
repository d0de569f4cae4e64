// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"claviger/internal/wire"
)

// do folds one change and says whether it takes a quorum.
func do(t *testing.T, r *Registry, kind string, payload any) (quorum bool) {
	t.Helper()
	ch, err := r.Plan(kind, wire.Marshal(payload), wire.Link{Epoch: wire.Epoch{Generation: 1, Position: 7}, Time: 99})
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	ch.Apply()
	return ch.Quorum
}

func refused(t *testing.T, r *Registry, kind string, payload any) {
	t.Helper()
	if _, err := r.Plan(kind, wire.Marshal(payload), wire.Link{}); err == nil {
		t.Errorf("%s %+v is taken", kind, payload)
	}
}

func TestLifeOfAnEndpoint(t *testing.T) {
	r := New()
	e, ref := full(), Ref{Name: "aws"}
	for _, kind := range []string{KindEnable, KindRemove} {
		refused(t, &r, kind, ref)
	}
	refused(t, &r, KindDisable, Disable{Name: "aws"})
	if do(t, &r, KindSet, Set{Endpoint: e}) {
		t.Error("a new name takes a quorum")
	}
	first := r.Get("aws")
	if !first.Serves() || r.At("xks.example.com") != first || first.Created != 99 || first.Set.Position != 7 || !reflect.DeepEqual(first.Endpoint, e) {
		t.Errorf("%+v", first)
	}
	if r.At("") != nil || r.At("aws") != nil || (*State)(nil).Serves() {
		t.Error("an endpoint without a host is found by none")
	}
	e.Rate = 2
	if !do(t, &r, KindSet, Set{Endpoint: e}) || first.Rate == 2 {
		t.Error("a change takes no quorum, or reaches what was handed out")
	}
	do(t, &r, KindDisable, Disable{Name: "aws"})
	refused(t, &r, KindDisable, Disable{Name: "aws"})
	if do(t, &r, KindEnable, ref) || !r.Get("aws").Serves() {
		t.Error("what was only disabled")
	}
	do(t, &r, KindDisable, Disable{Name: "aws"})
	do(t, &r, KindDisable, Disable{Name: "aws", Revoke: true}) // sharper
	refused(t, &r, KindDisable, Disable{Name: "aws", Revoke: true})
	refused(t, &r, KindDisable, Disable{Name: "aws"})
	do(t, &r, KindSet, Set{Endpoint: e})
	if s := r.Get("aws"); s.Serves() || !s.Revoked {
		t.Error("a change switches on what was revoked")
	}
	do(t, &r, KindRemove, ref)
	if s := r.Get("aws"); !s.Removed || s.Host != "" || len(s.Credentials) > 0 || s.Serves() || len(slices.Collect(r.Materials())) > 0 {
		t.Errorf("removed: %+v", s)
	}
	for _, kind := range []string{KindEnable, KindRemove} {
		refused(t, &r, kind, ref)
	}
	other := full()
	other.Kind = "vault"
	refused(t, &r, KindSet, Set{Endpoint: other})
	if !do(t, &r, KindSet, Set{Endpoint: e}) || r.Get("aws").Serves() || r.Get("aws").Removed {
		t.Error("a name that was revoked and removed comes back by a change")
	}
	if !do(t, &r, KindEnable, ref) || !r.Get("aws").Serves() {
		t.Error("enabling what was revoked")
	}
	if n := len(slices.Collect(r.Materials())); n != 2 {
		t.Errorf("%d materials", n)
	}
}

// TestOneHostOneEndpoint: two endpoints never answer in one place.
func TestOneHostOneEndpoint(t *testing.T) {
	r := New()
	do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "a", Kind: "kes", Host: "door"}})
	do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "b", Kind: "kes"}})
	do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "self", Kind: "kes", Host: "self"}})
	refused(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "c", Kind: "kes", Host: "door"}})
	refused(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "door", Kind: "kes"}})
	refused(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "c", Kind: "kes", Host: "b"}})
	do(t, &r, KindRemove, Ref{Name: "a"})
	do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "c", Kind: "kes", Host: "door"}})
	var names []string
	for s := range r.All() {
		names = append(names, s.Name)
	}
	if strings.Join(names, " ") != "a b c self" {
		t.Error(names)
	}
}

func TestBounds(t *testing.T) {
	r := New()
	long := strings.Repeat("r", wire.MaxReason+1)
	refused(t, &r, KindSet, Set{Endpoint: full(), Reason: long})
	for i := range MaxEndpoints {
		do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: fmt.Sprint(i), Kind: "kes"}})
	}
	refused(t, &r, KindSet, Set{Endpoint: full()})
	refused(t, &r, KindDisable, Disable{Name: "1", Reason: long})
	refused(t, &r, KindRemove, Ref{Name: "1", Reason: long})
	do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "1", Kind: "kes", Rate: 1}})
	if _, err := r.Plan("endpoint.other", wire.Marshal(Ref{Name: "1"}), wire.Link{}); err == nil || IsKind("endpoint.other") {
		t.Error("a kind that is none")
	}
	if _, err := r.Plan(KindRemove, wire.Marshal(Disable{Name: "1"}), wire.Link{}); err == nil {
		t.Error("another kind's payload")
	}
}

func TestKnows(t *testing.T) {
	r := New()
	do(t, &r, KindSet, Set{Endpoint: full()})
	for subject, want := range map[string]bool{"aws:ann": true, "aws:": false, "aws": false, "gcp:ann": false, "aws:a\nb": false} {
		if r.Knows(subject) != want {
			t.Errorf("%q: %t", subject, !want)
		}
	}
}

// FuzzPlan: whatever a payload says, a change that is taken leaves endpoints
// that hold their bounds and don't collide.
func FuzzPlan(f *testing.F) {
	f.Add(KindSet, wire.Marshal(Set{Endpoint: full()}))
	f.Add(KindDisable, wire.Marshal(Disable{Name: "b", Revoke: true}))
	f.Add(KindEnable, wire.Marshal(Ref{Name: "b"}))
	f.Add(KindRemove, wire.Marshal(Ref{Name: "b"}))
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		r := New()
		do(t, &r, KindSet, Set{Endpoint: Endpoint{Name: "b", Kind: "kes", Host: "b.example"}})
		ch, err := r.Plan(kind, payload, wire.Link{})
		if err != nil {
			return
		}
		ch.Apply()
		hosts := map[string]bool{}
		for s := range r.All() {
			if err := s.Check(); err != nil || s.Host != "" && hosts[s.Host] {
				t.Errorf("%+v: %v", s, err)
			}
			hosts[s.Host] = true
		}
	})
}
