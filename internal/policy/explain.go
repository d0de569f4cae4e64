// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// maxNear bounds how many permits an explanation lists, maxShown how much of a
// value it shows (in bytes).
const (
	maxNear  = 5
	maxShown = 120
)

// Explanation says why a request was decided as it was.
type Explanation struct {
	Decision Decision
	// Deciding are the policies that Decision.Policies names.
	Deciding []PolicyInfo
	// Near are, for a default deny, up to five permits that came closest, the
	// closest first: those that fail by a condition, then those for another
	// action, another resource, another principal.
	Near []Near
}

// Near is a permit that came near, with the first thing it asks for and doesn't
// find.
type Near struct {
	Policy PolicyInfo
	Part   string // "principal", "action", "resource", "when" or "unless"
	Wanted string // that part of the policy, as Cedar: `principal.region == "eu"`
	Found  string // what the request has there: `principal.region is "us"`
}

// Explain decides r as Decide does and says why. It shows names and claims of the
// request, so its answer is for those who may read the state.
func (s *Set) Explain(r Request) Explanation {
	f, err := r.facts()
	if err != nil {
		return Explanation{Decision: failed(err.Error())}
	}
	out := Explanation{Decision: s.decide(f, s.index.candidates(f))}
	for _, rule := range s.rules {
		if slices.Contains(out.Decision.Policies, rule.info.ID) {
			out.Deciding = append(out.Deciding, rule.info)
		}
	}
	if !out.Decision.Allowed && !out.Decision.Alarm && len(out.Deciding) == 0 {
		out.Near = s.near(f)
	}
	return out
}

// near ranks the permits by how much of their scope doesn't fit.
func (s *Set) near(f *facts) []Near {
	type ranked struct {
		rule     *rule
		distance int
	}
	var close []ranked
	for i := range s.rules {
		r := &s.rules[i]
		if d := f.distance(r); r.info.Effect == "permit" && d <= farPrincipal {
			close = append(close, ranked{r, d})
		}
	}
	slices.SortStableFunc(close, func(a, b ranked) int { return cmp.Compare(a.distance, b.distance) })
	var out []Near
	for _, c := range close[:min(len(close), maxNear)] {
		n := f.firstFalse(c.rule)
		n.Policy = c.rule.info
		out = append(out, n)
	}
	return out
}

// Distances of scopes that don't fit. Two of them together are too far.
const (
	farAction    = 2
	farResource  = 3
	farPrincipal = 4
)

func (f *facts) distance(r *rule) int {
	d := 0
	if !f.principalFits(r) {
		d += farPrincipal
	}
	if r.actions&f.action == 0 {
		d += farAction
	}
	if !fits(r.ast.Resource, f.resource) {
		d += farResource
	}
	return d
}

// principalFits counts `principal.path == "…"` as part of the scope: it is how
// generated permits say whom they are for.
func (f *facts) principalFits(r *rule) bool {
	if !fits(r.ast.Principal, f.principal) {
		return false
	}
	path, ok := pathLiteral(r.ast)
	return !ok || slices.Contains(f.principal, pathWord(path))
}

// fits reports whether a scope is true of an entity; keys are the entity itself,
// first, and everything it is in.
func fits(node ast.IsScopeNode, keys []cedar.EntityUID) bool {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return keys[0] == n.Entity
	case ast.ScopeTypeIn:
		return slices.Contains(keys, n.Entity)
	case ast.ScopeTypeIs:
		return keys[0].Type == n.Type
	case ast.ScopeTypeIsIn:
		return keys[0].Type == n.Type && slices.Contains(keys, n.Entity)
	}
	return true
}

// firstFalse finds the first part of a permit that isn't true of the request.
func (f *facts) firstFalse(r *rule) Near {
	p := r.ast
	switch {
	case !fits(p.Principal, f.principal):
		return Near{Part: "principal", Wanted: scopeText(p, 0), Found: "principal is " + f.request.Principal.String()}
	case r.actions&f.action == 0:
		return Near{Part: "action", Wanted: scopeText(p, 1), Found: "action is " + f.request.Action.String()}
	case !fits(p.Resource, f.resource):
		return Near{Part: "resource", Wanted: scopeText(p, 2), Found: "resource is " + f.request.Resource.String()}
	}
	for _, c := range p.Conditions {
		if n, found := f.blocking(c); found {
			return n
		}
	}
	return Near{}
}

// blocking finds what makes a condition fail: in a "when" the first part that is
// false, in an "unless" the first alternative that is true.
func (f *facts) blocking(c ast.ConditionType) (Near, bool) {
	part, pieces, want := "when", conjuncts(c.Body), cedar.True
	if c.Condition == ast.ConditionUnless {
		part, pieces, want = "unless", disjuncts(c.Body), cedar.False
	}
	for _, piece := range pieces {
		got, err := eval.Eval(piece, f.env())
		if err != nil || got != want {
			return Near{Part: part, Wanted: nodeText(piece), Found: f.found(piece)}, true
		}
	}
	return Near{}, false
}

func (f *facts) env() eval.Env {
	return eval.Env{
		Entities: f.entities, Principal: f.request.Principal, Action: f.request.Action,
		Resource: f.request.Resource, Context: f.request.Context,
	}
}

// disjuncts takes a || b || c apart, in the order of evaluation.
func disjuncts(n ast.IsNode) []ast.IsNode {
	or, ok := n.(ast.NodeTypeOr)
	if !ok {
		return []ast.IsNode{n}
	}
	return append(disjuncts(or.Left), disjuncts(or.Right)...)
}

// found says what the request has where a condition looks.
func (f *facts) found(n ast.IsNode) string {
	var out []string
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		if text := f.value(n); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
		return true
	})
	return strings.Join(out, ", ")
}

// value describes one attribute, tag or variable, and is "" for anything else.
func (f *facts) value(n ast.IsNode) string {
	var read ast.IsNode
	var has ast.IsNode
	switch n := n.(type) {
	case ast.NodeTypeHas:
		has, read = n, ast.NodeTypeAccess(n)
	case ast.NodeTypeAccess:
		has, read = ast.NodeTypeHas(n), n
	case ast.NodeTypeHasTag:
		has, read = n, ast.NodeTypeGetTag(n)
	case ast.NodeTypeGetTag:
		has, read = ast.NodeTypeHasTag(n), n
	case ast.NodeTypeIn:
		return f.variable(n.Left)
	case ast.NodeTypeEquals:
		return f.variable(n.Left)
	case ast.NodeTypeNotEquals:
		return f.variable(n.Left)
	case ast.NodeTypeIs:
		return f.variable(n.Left)
	case ast.NodeTypeIsIn:
		return f.variable(n.Left)
	default:
		return ""
	}
	if there, err := eval.Eval(has, f.env()); err != nil || there != cedar.True {
		return nodeText(read) + " is absent"
	}
	v, err := eval.Eval(read, f.env())
	if err != nil {
		return ""
	}
	return nodeText(read) + " is " + shorten(string(v.MarshalCedar()))
}

func (f *facts) variable(n ast.IsNode) string {
	v, ok := n.(ast.NodeTypeVariable)
	if !ok || v.Name == "context" {
		return ""
	}
	uid, err := eval.Eval(v, f.env())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s is %s", v.Name, uid)
}

func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

// scopeText is the i-th line of a policy's scope, as Cedar.
func scopeText(p *ast.Policy, i int) string {
	bare := *p
	bare.Annotations, bare.Conditions = nil, nil
	lines := strings.Split(string(cedar.NewPolicyFromAST((*cedarast.Policy)(&bare)).MarshalCedar()), "\n")
	if len(lines) < i+2 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSpace(lines[i+1]), ",")
}

// nodeText is an expression as Cedar.
func nodeText(n ast.IsNode) string {
	p := ast.Permit().When(ast.NewNode(n))
	text := string(cedar.NewPolicyFromAST((*cedarast.Policy)(p)).MarshalCedar())
	_, text, _ = strings.Cut(text, "when {")
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "};"))
}
