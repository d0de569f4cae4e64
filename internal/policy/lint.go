// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// The validator compares each hasTag and getTag of a policy with every other.
// maxTagWords bounds them in one policy, maxTagWork the sum of their squares over
// a set; without the second, one source could keep a server busy for half a minute.
const (
	maxTagWords = 32
	maxTagWork  = 1 << 16
)

// linter refuses words that Cedar's own validation lets pass because they are
// legal and merely never true: `principal has regoin`, `principal is Wrokload`,
// an id in a form that no entity has. In a permit such a word is a nuisance; in
// a forbid, or under "!" or "unless", it opens what should be shut.
type linter struct {
	principals []cedar.EntityType // types the scope leaves possible
	resources  []cedar.EntityType
	tags       int
}

// lint returns how often the policy asks for tags.
func lint(p *ast.Policy) (int, error) {
	v := words()
	l := &linter{}
	var err error
	if l.principals, err = l.scope(p.Principal, v.principalTypes()); err != nil {
		return 0, fmt.Errorf("principal: %w", err)
	}
	if l.resources, err = l.scope(p.Resource, v.resourceTypes()); err != nil {
		return 0, fmt.Errorf("resource: %w", err)
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if err == nil {
				err = l.node(n)
			}
			return err == nil
		})
	}
	return l.tags, err
}

// scope checks the words of a scope and narrows the possible types by it.
func (l *linter) scope(node ast.IsScopeNode, possible []cedar.EntityType) ([]cedar.EntityType, error) {
	switch n := node.(type) {
	case ast.ScopeTypeEq:
		return []cedar.EntityType{n.Entity.Type}, checkEntity(n.Entity)
	case ast.ScopeTypeIs:
		return []cedar.EntityType{n.Type}, checkType(n.Type)
	case ast.ScopeTypeIn:
		return possible, checkEntity(n.Entity)
	case ast.ScopeTypeIsIn:
		if err := checkType(n.Type); err != nil {
			return nil, err
		}
		return []cedar.EntityType{n.Type}, checkEntity(n.Entity)
	}
	return possible, nil
}

func (l *linter) node(n ast.IsNode) error {
	switch n := n.(type) {
	case ast.NodeTypeHas:
		return l.attribute(n.Arg, n.Value)
	case ast.NodeTypeAccess:
		return l.attribute(n.Arg, n.Value)
	case ast.NodeTypeHasTag:
		return l.tag(n.Left)
	case ast.NodeTypeGetTag:
		return l.tag(n.Left)
	case ast.NodeTypeIs:
		return l.is(n.Left, n.EntityType)
	case ast.NodeTypeIsIn:
		return l.is(n.Left, n.EntityType)
	case ast.NodeTypeEquals:
		return l.compare(n.BinaryNode)
	case ast.NodeTypeNotEquals:
		return l.compare(n.BinaryNode)
	case ast.NodeTypeIn:
		return l.in(n)
	case ast.NodeValue:
		if uid, ok := n.Value.(cedar.EntityUID); ok {
			return checkEntity(uid)
		}
	}
	return nil
}

// attribute requires that the word is one of the things the variable can be.
func (l *linter) attribute(on ast.IsNode, name cedar.String) error {
	variable, ok := on.(ast.NodeTypeVariable)
	if !ok {
		return fmt.Errorf("attribute %s: only principal, resource and context have attributes", name)
	}
	if variable.Name == "context" {
		if _, ok := words().context[name]; !ok {
			return fmt.Errorf("context has no attribute %s", name)
		}
		return nil
	}
	types := l.types(variable)
	for _, t := range types {
		if _, ok := words().entities[t].attributes[name]; ok {
			return nil
		}
	}
	return fmt.Errorf("%s (%s) has no attribute %s", variable.Name, list(types), name)
}

// types are the entity types a variable can have under this policy's scope.
func (l *linter) types(v ast.NodeTypeVariable) []cedar.EntityType {
	switch v.Name {
	case "principal":
		return l.principals
	case "resource":
		return l.resources
	}
	return []cedar.EntityType{"Action"}
}

func (l *linter) tag(on ast.IsNode) error {
	if v, ok := on.(ast.NodeTypeVariable); !ok || v.Name != "resource" {
		return fmt.Errorf("only resource has tags")
	}
	if l.tags++; l.tags > maxTagWords {
		return fmt.Errorf("more than %d uses of hasTag and getTag", maxTagWords)
	}
	return nil
}

func (l *linter) is(on ast.IsNode, t cedar.EntityType) error {
	if err := checkType(t); err != nil {
		return err
	}
	if v, ok := on.(ast.NodeTypeVariable); ok && !slices.Contains(l.types(v), t) {
		return fmt.Errorf("%s (%s) is never a %s here", v.Name, list(l.types(v)), t)
	}
	return nil
}

// compare refuses to compare a variable with an entity it can't be.
func (l *linter) compare(n ast.BinaryNode) error {
	for _, pair := range [][2]ast.IsNode{{n.Left, n.Right}, {n.Right, n.Left}} {
		v, isVariable := pair[0].(ast.NodeTypeVariable)
		uid, isEntity := literal(pair[1])
		if !isVariable || !isEntity {
			continue
		}
		if v.Name == "context" || !slices.Contains(l.types(v), uid.Type) {
			return fmt.Errorf("%s is never a %s here", v.Name, uid.Type)
		}
	}
	return nil
}

// in refuses `variable in X` if nothing of the variable's types can be in X.
func (l *linter) in(n ast.NodeTypeIn) error {
	v, isVariable := n.Left.(ast.NodeTypeVariable)
	uid, isEntity := literal(n.Right)
	if !isVariable || !isEntity || v.Name == "action" {
		return nil
	}
	for _, t := range l.types(v) {
		if t == uid.Type || slices.Contains(words().entities[t].parents, uid.Type) {
			return nil
		}
	}
	return fmt.Errorf("%s (%s) is never in a %s", v.Name, list(l.types(v)), uid.Type)
}

func literal(n ast.IsNode) (cedar.EntityUID, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return cedar.EntityUID{}, false
	}
	uid, ok := v.Value.(cedar.EntityUID)
	return uid, ok
}

func checkType(t cedar.EntityType) error {
	if _, ok := words().entities[t]; !ok {
		return fmt.Errorf("no entity type is called %s", t)
	}
	return nil
}

func checkEntity(uid cedar.EntityUID) error {
	if uid.Type == "Action" {
		if _, ok := words().actions[uid]; !ok {
			return fmt.Errorf("no action is called %q", string(uid.ID))
		}
		return nil
	}
	if err := checkType(uid.Type); err != nil {
		return err
	}
	if problem := checkID(uid.Type, string(uid.ID)); problem != "" {
		return fmt.Errorf("%s: %s", uid, problem)
	}
	return nil
}

func list(types []cedar.EntityType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}
