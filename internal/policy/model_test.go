// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The model is a policy language small enough to be evaluated by a few obvious
// lines. Whatever it can say is written out as Cedar too, and both have to give
// the same answer.

type modelPolicy struct {
	permit                      bool
	principal, action, resource modelScope
	conditions                  []modelCondition
}

// modelScope is "any", "is X", "== X", "in X" or, for actions, a list.
type modelScope struct {
	how    string
	values []string
}

type modelCondition struct {
	unless bool
	what   string // path, region, level, partition, reason, tag, folder, overflow
	value  string
}

var (
	modelPaths   = []string{"app1", "app2", "team/app1", "team/eu/app3", "team"}
	modelKeys    = []string{"k", "pay/cards", "pay/eu/cards", "pay", "payments/x"}
	modelFolders = []string{"pay", "pay/eu", "team", "k"}
	modelActions = []string{"encrypt", "decrypt", "sign", "key:create"}
	modelRegions = []string{"eu", "us"}
	modelWords   = []string{"", "a", "b\"c"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomPolicy(r *rand.Rand) modelPolicy {
	p := modelPolicy{
		permit:    r.IntN(4) > 0,
		principal: pick(r, []modelScope{{how: "any"}, {"is", []string{"Workload"}}, {"==", []string{pick(r, modelPaths)}}, {"==", []string{pick(r, modelPaths)}}, {"in", []string{pick(r, modelFolders)}}, {"is in", []string{pick(r, modelFolders)}}}),
		action:    pick(r, []modelScope{{how: "any"}, {"==", []string{pick(r, modelActions)}}, {"in", []string{pick(r, modelActions), pick(r, modelActions)}}}),
		resource:  pick(r, []modelScope{{how: "any"}, {"is", []string{"Key"}}, {"==", []string{pick(r, modelKeys)}}, {"in", []string{pick(r, modelFolders)}}, {"is in", []string{pick(r, modelFolders)}}}),
	}
	for range r.IntN(3) {
		c := modelCondition{unless: r.IntN(3) == 0, what: pick(r, []string{"path", "path", "path", "region", "level", "partition", "reason", "tag", "folder", "overflow"})}
		switch c.what {
		case "path":
			c.value = pick(r, modelPaths)
		case "region", "tag":
			c.value = pick(r, modelRegions)
		case "level":
			c.value = fmt.Sprint(r.IntN(4))
		case "partition", "reason":
			c.value = pick(r, modelWords)
		case "folder":
			c.value = pick(r, modelFolders)
		case "overflow":
			if r.IntN(2) > 0 {
				continue // rarer than others, or every set would fail
			}
		}
		p.conditions = append(p.conditions, c)
	}
	return p
}

func (p modelPolicy) cedar() string {
	scope := func(name, entity, group string, s modelScope) string {
		switch s.how {
		case "is":
			return name + " is " + s.values[0]
		case "==":
			return fmt.Sprintf("%s == %s::%s", name, entity, quote(s.values[0]))
		case "in":
			return fmt.Sprintf("%s in %s::%s", name, group, quote(s.values[0]))
		case "is in":
			return fmt.Sprintf("%s is %s in %s::%s", name, entity, group, quote(s.values[0]))
		}
		return name
	}
	principal := p.principal
	if principal.how == "==" {
		principal.values = []string{id(principal.values[0])}
	}
	action := scope("action", "Action", "Action", p.action)
	if p.action.how == "in" {
		action = fmt.Sprintf(`action in [Action::%s, Action::%s]`, quote(p.action.values[0]), quote(p.action.values[1]))
	}
	effect := map[bool]string{true: "permit", false: "forbid"}[p.permit]
	out := fmt.Sprintf("%s (%s, %s, %s)", effect, scope("principal", "Workload", "Path", principal), action, scope("resource", "Key", "Folder", p.resource))
	for _, c := range p.conditions {
		out += " " + c.cedar()
	}
	return out + ";\n"
}

func (c modelCondition) cedar() string {
	body := map[string]string{
		"path":      "principal has path && principal.path == " + quote(c.value),
		"region":    "principal has region && principal.region == " + quote(c.value),
		"level":     "principal has attestation && principal.attestation >= " + c.value,
		"partition": "context.partition == " + quote(c.value),
		"reason":    "context has reason && context.reason == " + quote(c.value),
		"tag":       `resource.hasTag("t") && resource.getTag("t") == ` + quote(c.value),
		"folder":    "resource in Folder::" + quote(c.value),
		"overflow":  "resource has attestation && resource.attestation * 9223372036854775807 > 0",
	}[c.what]
	return map[bool]string{true: "unless", false: "when"}[c.unless] + " { " + body + " }"
}

type modelAnswer int

const (
	modelNo modelAnswer = iota
	modelYes
	modelFails
)

func (p modelPolicy) matches(r Request) modelAnswer {
	path, _ := r.Principal.Attributes["path"].(string)
	below := func(name, folder string) bool { return strings.HasPrefix(name, folder+"/") }
	scope := func(s modelScope, name, kind string) bool {
		switch s.how {
		case "is":
			return s.values[0] == kind
		case "==":
			return s.values[0] == name
		case "in", "is in":
			return below(name, s.values[0])
		}
		return true
	}
	if !scope(p.principal, path, "Workload") || !scope(p.resource, r.Resource.Name, "Key") {
		return modelNo
	}
	if p.action.how != "any" && !slices.Contains(p.action.values, r.Action) {
		return modelNo
	}
	for _, c := range p.conditions {
		got := c.holds(r, path)
		if got == modelFails {
			return modelFails
		}
		if (got == modelYes) == c.unless {
			return modelNo
		}
	}
	return modelYes
}

func (c modelCondition) holds(r Request, path string) modelAnswer {
	yes := func(b bool) modelAnswer { return map[bool]modelAnswer{true: modelYes, false: modelNo}[b] }
	switch c.what {
	case "path":
		return yes(path == c.value)
	case "region":
		return yes(r.Principal.Attributes["region"] == c.value)
	case "level":
		level, ok := r.Principal.Attributes["attestation"].(int)
		return yes(ok && fmt.Sprint(level) >= c.value)
	case "partition":
		return yes(r.Context.Partition == c.value)
	case "reason":
		return yes(r.Context.Reason != "" && r.Context.Reason == c.value)
	case "tag":
		v, ok := r.Resource.Tags["t"]
		return yes(ok && v == c.value)
	case "folder":
		return yes(strings.HasPrefix(r.Resource.Name, c.value+"/"))
	}
	if level, ok := r.Resource.Attributes["attestation"].(int); ok {
		if level > 1 {
			return modelFails
		}
		return yes(level > 0)
	}
	return modelNo
}

func randomRequest(r *rand.Rand) Request {
	q := at(pick(r, modelActions), pick(r, modelKeys), app(pick(r, modelPaths), nil))
	if r.IntN(2) == 0 {
		q.Principal = q.Principal.Prove(map[string]any{"region": pick(r, modelRegions)})
	}
	if r.IntN(2) == 0 {
		q.Principal = q.Principal.Prove(map[string]any{"attestation": r.IntN(4)})
	}
	if r.IntN(2) == 0 {
		q.Resource.Attributes = map[string]any{"attestation": r.IntN(3)}
	}
	if r.IntN(2) == 0 {
		q.Resource.Tags = map[string]string{"t": pick(r, modelRegions)}
	}
	q.Context.Partition = pick(r, modelWords)
	q.Context.Reason = pick(r, modelWords)
	return q
}

func randomSet(t testing.TB, r *rand.Rand) ([]modelPolicy, *Set) {
	t.Helper()
	model := make([]modelPolicy, r.IntN(12))
	var source strings.Builder
	for i := range model {
		model[i] = randomPolicy(r)
		source.WriteString(model[i].cedar())
	}
	return model, mustParse(t, source.String())
}

// reference answers by the model.
func reference(model []modelPolicy, q Request) (allowed, failed bool) {
	forbidden := false
	for _, p := range model {
		switch p.matches(q) {
		case modelFails:
			failed = true
		case modelYes:
			allowed = allowed || p.permit
			forbidden = forbidden || !p.permit
		}
	}
	return allowed && !forbidden && !failed, failed
}

// checkAgainstModel draws a set and some requests and compares the answers of the
// model, of Decide with its index and of Cedar over the whole set.
func checkAgainstModel(t *testing.T, r *rand.Rand) (allowed, failed int) {
	t.Helper()
	model, s := randomSet(t, r)
	everything := make([]int32, len(s.rules))
	for i := range everything {
		everything[i] = int32(i)
	}
	for range 20 {
		q := randomRequest(r)
		d := s.Decide(q)
		wantAllowed, wantFailed := reference(model, q)
		if d.Allowed != wantAllowed || d.Alarm != wantFailed {
			t.Fatalf("model says allowed %v, failed %v, Decide %+v\n%+v\n%s", wantAllowed, wantFailed, d, q, s.source)
		}
		f, err := q.facts()
		if err != nil {
			t.Fatal(err)
		}
		whole := s.decide(f, everything)
		whole.Lasting = d.Lasting // of the rules that were looked at: here, all
		if diff := cmp.Diff(whole, d); diff != "" {
			t.Fatalf("the index changes the answer (- whole set, + index):\n%s\n%+v\n%s", diff, q, s.source)
		}
		if d.Allowed {
			allowed++
		}
		if d.Alarm {
			failed++
		}
	}
	return allowed, failed
}

func TestIndexAgreesWithFullEvaluation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	allowed, failed := 0, 0
	const sets = 500
	for range sets {
		a, f := checkAgainstModel(t, r)
		allowed, failed = allowed+a, failed+f
	}
	// A comparison in which nearly everything is refused would prove little.
	if allowed < sets || failed < sets/20 {
		t.Errorf("only %d allowed and %d failed in %d requests", allowed, failed, sets*20)
	}
}

func FuzzDecide(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed*7)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) { checkAgainstModel(t, rand.New(rand.NewPCG(a, b))) })
}

// TestWhoCanHoldsForEveryContext: yes and no are promises about all contexts.
func TestWhoCanHoldsForEveryContext(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	verdicts := map[Verdict]int{}
	for range 500 {
		_, s := randomSet(t, r)
		for range 10 {
			q := randomRequest(r)
			a := s.WhoCan(q.Action, q.Resource, []Principal{q.Principal})[0]
			verdicts[a.Verdict]++
			seen := map[bool]bool{}
			for _, q.Context.Partition = range modelWords {
				for _, q.Context.Reason = range modelWords {
					seen[s.Decide(q).Allowed] = true
				}
			}
			if a.Verdict == Yes && seen[false] || a.Verdict == No && seen[true] {
				t.Fatalf("verdict %+v, but decisions %v\n%+v\n%s", a, seen, q, s.source)
			}
			if a.Verdict == Depends && (len(a.Policies) == 0 || len(a.Conditions) == 0) {
				t.Fatalf("depends on nothing: %+v", a)
			}
		}
	}
	if verdicts[Yes] < 100 || verdicts[No] < 100 || verdicts[Depends] < 100 {
		t.Errorf("verdicts %v: too few of a kind", verdicts)
	}
}

// TestExplainAgreesWithDecide, and what it calls near is a permit that did fail.
func TestExplainAgreesWithDecide(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	near := 0
	for range 300 {
		model, s := randomSet(t, r)
		for range 10 {
			q := randomRequest(r)
			e := s.Explain(q)
			if diff := cmp.Diff(s.Decide(q), e.Decision); diff != "" {
				t.Fatalf("Explain decides otherwise:\n%s", diff)
			}
			if len(e.Deciding) != len(e.Decision.Policies) {
				t.Fatalf("deciding %v, policies %v", e.Deciding, e.Decision.Policies)
			}
			if len(e.Near) > 0 && e.Decision.Reason != ReasonNone {
				t.Fatalf("near permits of a decision that isn't a default deny: %+v", e)
			}
			for _, n := range e.Near {
				near++
				i := slices.IndexFunc(s.rules, func(r rule) bool { return r.info.ID == n.Policy.ID })
				if !model[i].permit || model[i].matches(q) != modelNo || n.Wanted == "" || n.Found == "" || n.Part == "" {
					t.Fatalf("near %+v\n%+v", n, q)
				}
			}
		}
	}
	if near < 1000 {
		t.Errorf("only %d near permits seen", near)
	}
}

// TestLastingHoldsForEveryContext: who remembers such a decision need not ask again.
func TestLastingHoldsForEveryContext(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	lasting, changing := 0, 0
	for range 500 {
		_, s := randomSet(t, r)
		for range 10 {
			q := randomRequest(r)
			first := s.Decide(q)
			for _, q.Context.Partition = range modelWords {
				for _, q.Context.Reason = range modelWords {
					if diff := cmp.Diff(first, s.Decide(q)); diff == "" {
						continue
					} else if changing++; first.Lasting {
						t.Fatalf("a lasting decision changes with the context:\n%s\n%+v\n%s", diff, q, s.source)
					}
				}
			}
			if first.Lasting {
				lasting++
			}
		}
	}
	if lasting < 500 || changing < 500 {
		t.Errorf("%d lasting decisions, %d that changed: too few to show anything", lasting, changing)
	}
}

// TestSetIsSharedSafely is meaningful under the race detector.
func TestSetIsSharedSafely(t *testing.T) {
	_, s := randomSet(t, rand.New(rand.NewPCG(7, 8)))
	q := randomRequest(rand.New(rand.NewPCG(9, 10)))
	want := s.Decide(q)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if diff := cmp.Diff(want, s.Decide(q)); diff != "" {
					t.Error(diff)
				}
				s.Explain(q)
				s.WhoCan(q.Action, q.Resource, []Principal{q.Principal})
			}
		})
	}
	wg.Wait()
}
