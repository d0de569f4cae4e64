// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Verdict answers "can they?" without knowing when and how they will ask.
type Verdict string

// Verdicts. Yes and No hold for every context; Depends says that context.time,
// partition, purpose, reason, route or what a door says of the request decides.
const (
	Yes     Verdict = "yes"
	No      Verdict = "no"
	Depends Verdict = "depends"
)

// Answer is what WhoCan finds for one candidate.
type Answer struct {
	Principal Principal
	Verdict   Verdict
	// Policies are the ids behind the verdict in the order of the source: the
	// permits of a Yes, the forbids of a No (none for a default deny), and what
	// the answer hangs on for a Depends.
	Policies []string
	// Conditions are, for a Depends, the parts of those policies that ask about
	// the context, as Cedar, each behind its "when" or "unless".
	Conditions []string
	Errors     []string // as Decision.Errors; the verdict is No then
}

// WhoCan answers for each candidate, with the claims it comes with, whether it
// may do action with res. Claims that a candidate could still prove are taken as
// not proved.
func (s *Set) WhoCan(action string, res Resource, candidates []Principal) []Answer {
	out := make([]Answer, len(candidates))
	for i, p := range candidates {
		out[i] = s.can(Request{
			Principal: p, Action: action, Resource: res,
			// Never read: whatever asks for the context counts as unknown.
			Context: Context{Time: time.Unix(1, 0)},
		})
	}
	return out
}

func (s *Set) can(r Request) Answer {
	a := Answer{Principal: r.Principal, Verdict: No}
	f, err := r.facts()
	if err != nil {
		a.Errors = []string{err.Error()}
		return a
	}
	var t tally
	for _, i := range s.index.candidates(f) {
		t.add(f, &s.rules[i])
	}
	t.settle(&a)
	return a
}

// tally sorts the rules of a set by what is known about them.
type tally struct {
	permits, forbids []string // certainly true
	open             []string // permits and forbids that hang on the context
	conditions       []string
	openForbid       bool // an open rule could still turn a Yes into a No
	openPermit       bool
	errors           []string
}

func (t *tally) add(f *facts, r *rule) {
	state, conditions, err := f.judge(r)
	permit := r.info.Effect == "permit"
	switch {
	case err != nil:
		t.errors = append(t.errors, "policy "+r.info.ID+": "+err.Error())
	case state == isTrue && permit:
		t.permits = append(t.permits, r.info.ID)
	case state == isTrue:
		t.forbids = append(t.forbids, r.info.ID)
	case state == isOpen:
		t.open = append(t.open, r.info.ID)
		t.conditions = append(t.conditions, conditions...)
		t.openPermit = t.openPermit || permit
		t.openForbid = t.openForbid || !permit || canFail(r.ast)
	}
}

func (t *tally) settle(a *Answer) {
	switch {
	case len(t.errors) > 0:
		a.Errors = t.errors
	case len(t.forbids) > 0:
		a.Policies = t.forbids
	case len(t.permits) == 0 && !t.openPermit:
	case len(t.permits) > 0 && !t.openForbid:
		a.Verdict, a.Policies = Yes, t.permits
	default:
		a.Verdict, a.Policies, a.Conditions = Depends, t.open, t.conditions
	}
}

// truth is what is known of a condition when the context is not.
type truth int

const (
	isFalse truth = iota
	isTrue
	isOpen
)

// judge evaluates a rule without the context. Its error is certain: it doesn't
// hang on the context.
func (f *facts) judge(r *rule) (truth, []string, error) {
	if !fits(r.ast.Principal, f.principal) || !fits(r.ast.Resource, f.resource) || r.actions&f.action == 0 {
		return isFalse, nil, nil
	}
	all, open := isTrue, []string(nil)
	for _, c := range r.ast.Conditions {
		word, wanted := "when", isTrue
		if c.Condition == ast.ConditionUnless {
			word, wanted = "unless", isFalse
		}
		got, err := f.truthOf(c.Body)
		switch {
		case err != nil && all == isTrue:
			return isFalse, nil, err
		case err != nil || got == isOpen:
			all = isOpen
			open = append(open, word+" { "+nodeText(c.Body)+" }")
		case got != wanted && (all == isTrue || !canFail(r.ast)):
			return isFalse, nil, nil
		}
	}
	return all, open, nil
}

// truthOf evaluates a Boolean expression in Kleene's three-valued logic, whose
// third value is "it depends on the context". An error counts only if it is
// certain to occur; one behind something open leaves the whole open.
func (f *facts) truthOf(n ast.IsNode) (truth, error) {
	if !readsContext(n) {
		v, err := eval.Eval(n, f.env())
		if err != nil {
			return isOpen, err
		}
		return truthIf(v == cedar.True), nil
	}
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return f.chain(n.Left, n.Right, isFalse)
	case ast.NodeTypeOr:
		return f.chain(n.Left, n.Right, isTrue)
	case ast.NodeTypeNot:
		t, err := f.truthOf(n.Arg)
		if t != isOpen {
			t = truthIf(t == isFalse)
		}
		return t, err
	case ast.NodeTypeIfThenElse:
		return f.branch(n)
	}
	return isOpen, nil
}

func truthIf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

// chain is && (ends with the first false) or || (ends with the first true).
func (f *facts) chain(left, right ast.IsNode, end truth) (truth, error) {
	l, err := f.truthOf(left)
	if err != nil || l == end {
		return l, err
	}
	r, err := f.truthOf(right)
	if l != isOpen {
		return r, err
	}
	if err == nil && r == end && !canFailNode(left) {
		return end, nil
	}
	return isOpen, nil
}

func (f *facts) branch(n ast.NodeTypeIfThenElse) (truth, error) {
	c, err := f.truthOf(n.If)
	switch {
	case err != nil:
		return isOpen, err
	case c == isTrue:
		return f.truthOf(n.Then)
	case c == isFalse:
		return f.truthOf(n.Else)
	}
	return isOpen, nil
}

// readsContext reports whether an expression looks at the context.
func readsContext(n ast.IsNode) bool {
	return holds(n, func(n ast.IsNode) bool {
		v, ok := n.(ast.NodeTypeVariable)
		return ok && v.Name == "context"
	})
}

// canFail reports whether evaluating a policy that passed Parse may still fail.
// What is left then is arithmetic: numbers overflow, and so do dates.
func canFail(p *ast.Policy) bool {
	return slices.ContainsFunc(p.Conditions, func(c ast.ConditionType) bool { return canFailNode(c.Body) })
}

func canFailNode(n ast.IsNode) bool {
	return holds(n, func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeAdd, ast.NodeTypeSub, ast.NodeTypeMult, ast.NodeTypeNegate:
			return true
		case ast.NodeTypeExtensionCall:
			return !slices.ContainsFunc(safeCalls(), func(name string) bool { return name == string(n.Name) })
		}
		return false
	})
}

// safeCalls are the constructors that Parse allows on literals only, and checks.
func safeCalls() []string { return []string{"datetime", "duration", "decimal", "ip"} }

func holds(n ast.IsNode, what func(ast.IsNode) bool) bool {
	found := false
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		found = found || what(n)
		return !found
	})
	return found
}
