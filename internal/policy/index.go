// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"iter"
	"math"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index finds the rules that can matter to a request without looking at the
// others.
//
// Invariant: a rule that candidates leaves out evaluates to false for this
// request, and without error, so Cedar's answer over the candidates is its answer
// over the whole set, errors included (TestIndexAgreesWithFullEvaluation). It
// holds because a rule is principal && action && resource && conditions from
// left to right, no scope can fail to evaluate, and a rule is left out only when
// one of the scopes is false: when its principal or resource entity is neither
// the request's own nor one above it, when its action bit is missing, or, with no
// entity in the principal scope, when its first condition starts with
// `principal has path && principal.path == "…"` and the path is another one.
type index struct {
	rules   []rule
	buckets map[bucket][]int32
}

// bucket holds the zero EntityUID for "any".
type bucket struct{ principal, resource cedar.EntityUID }

func newIndex(rules []rule) index {
	x := index{rules: rules, buckets: make(map[bucket][]int32, len(rules))}
	for i, r := range rules {
		b := bucket{principal: scopeEntity(r.ast.Principal), resource: scopeEntity(r.ast.Resource)}
		if b.principal == (cedar.EntityUID{}) {
			if path, ok := pathLiteral(r.ast); ok {
				b.principal = pathWord(path)
			}
		}
		x.buckets[b] = append(x.buckets[b], int32(i))
	}
	return x
}

// pathWord is the key of "the path attribute equals path". Its type is no entity
// type of the schema, so no entity can be mistaken for it.
func pathWord(path cedar.String) cedar.EntityUID {
	return cedar.NewEntityUID("attribute:path", path)
}

// candidates are the rules that can matter to f, in the order of the source.
func (x *index) candidates(f *facts) []int32 {
	var out []int32
	add := func(p, r cedar.EntityUID) {
		for _, i := range x.buckets[bucket{p, r}] {
			if x.rules[i].actions&f.action != 0 {
				out = append(out, i)
			}
		}
	}
	anyone := cedar.EntityUID{}
	for _, p := range f.principal {
		for _, r := range f.resource {
			add(p, r)
		}
		add(p, anyone)
	}
	for _, r := range f.resource {
		add(anyone, r)
	}
	add(anyone, anyone)
	slices.Sort(out)
	return out
}

// candidateRules gives some of a set's rules to Cedar.
type candidateRules struct {
	rules  []rule
	chosen []int32
}

// All implements cedar.PolicyIterator.
func (c candidateRules) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, i := range c.chosen {
			r := &c.rules[i]
			if !yield(cedar.PolicyID(r.info.ID), r.compiled) {
				return
			}
		}
	}
}

func scopeEntity(node ast.IsScopeNode) cedar.EntityUID {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return n.Entity
	case ast.ScopeTypeIn:
		return n.Entity
	case ast.ScopeTypeIsIn:
		return n.Entity
	}
	return cedar.EntityUID{}
}

// actionBits are the actions a scope can match; all of them if in doubt.
func actionBits(node ast.IsActionScopeNode) uint32 {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return words().actions[n.Entity].bit
	case ast.ScopeTypeIn:
		return words().actions[n.Entity].bit
	case ast.ScopeTypeInSet:
		var bits uint32
		for _, uid := range n.Entities {
			bits |= words().actions[uid].bit
		}
		return bits
	}
	return math.MaxUint32
}

// pathLiteral finds the path that the first condition asks for before anything
// else. Both parts have to stand first and in this order: what stands before
// them could fail, and then the rule may not be left out.
func pathLiteral(p *ast.Policy) (cedar.String, bool) {
	if len(p.Conditions) == 0 || p.Conditions[0].Condition != ast.ConditionWhen {
		return "", false
	}
	parts := conjuncts(p.Conditions[0].Body)
	if len(parts) < 2 {
		return "", false
	}
	has, ok := parts[0].(ast.NodeTypeHas)
	if !ok || has.Value != "path" || !isPrincipal(has.Arg) {
		return "", false
	}
	equals, ok := parts[1].(ast.NodeTypeEquals)
	if !ok {
		return "", false
	}
	access, ok := equals.Left.(ast.NodeTypeAccess)
	if !ok || access.Value != "path" || !isPrincipal(access.Arg) {
		return "", false
	}
	value, ok := equals.Right.(ast.NodeValue)
	if !ok {
		return "", false
	}
	path, ok := value.Value.(cedar.String)
	return path, ok
}

func isPrincipal(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "principal"
}

// conjuncts takes a && b && c apart, in the order of evaluation.
func conjuncts(n ast.IsNode) []ast.IsNode {
	and, ok := n.(ast.NodeTypeAnd)
	if !ok {
		return []ast.IsNode{n}
	}
	return append(conjuncts(and.Left), conjuncts(and.Right)...)
}
