// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"claviger/internal/wire"
)

// useActions are what Allow grants if it isn't told otherwise. release comes with
// every use of a key, because a workload uses keys by having them released for
// operations that are each permitted too; release alone gives nothing.
func useActions() []string {
	return []string{"release", "encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "mac"}
}

// Allow adds to a policy source what `claviger policy allow WHO KEY [--only …]`
// means: a permit, readable and named "allow-WHO:KEY". It returns the new source
// and the name of the permit.
//
// who is a workload: its SPIFFE id, or its path below spiffe://DOMAIN/workload/
// ("app1"), which means the workload of that path in the product's own trust
// domain. key is the full name of a key, or of a secret if only holds secret
// actions. A nil only stands for every use of a key; an empty one is refused.
//
// Asked again for what the permit already gives, Allow returns the source as it
// is. Asked for more, it widens the permit in its place. It refuses what could be
// understood in two ways: an only that is narrower than the permit (people would
// believe it had been narrowed), a permit of that name that somebody edited, key
// and secret actions together, patterns, folders.
func Allow(source []byte, who, key string, only []string) ([]byte, string, error) {
	set, err := Parse(source)
	if err != nil {
		return nil, "", err
	}
	g, err := newGrant(who, key, only)
	if err != nil {
		return nil, "", fmt.Errorf("allow: %w", err)
	}
	out, err := g.writeTo(set)
	if err != nil {
		return nil, "", fmt.Errorf("allow: %w", err)
	}
	if _, err := Parse(out); err != nil {
		return nil, "", fmt.Errorf("allow: %w", err)
	}
	return out, g.id(), nil
}

// grant is one permit of Allow.
type grant struct {
	who      string
	resource cedar.EntityUID
	actions  []string // in the order of Actions()
}

func newGrant(who, key string, only []string) (grant, error) {
	g := grant{who: who}
	if !wire.ValidID(who) && !wire.ValidPath(who) {
		return g, fmt.Errorf("%q is neither a SPIFFE id nor a workload's path (parts of a-z 0-9 . _ - with single slashes between)", who)
	}
	if only == nil {
		only = useActions()
	}
	if len(only) == 0 {
		return g, errors.New("the list of actions is empty")
	}
	resourceType, err := g.take(only)
	if err != nil {
		return g, err
	}
	if problem := checkID(resourceType, key); problem != "" {
		return g, fmt.Errorf("%q: %s", key, problem)
	}
	g.resource = cedar.NewEntityUID(resourceType, cedar.String(key))
	return g, nil
}

// take notes the actions and finds the one type they all apply to.
func (g *grant) take(only []string) (cedar.EntityType, error) {
	wanted := slices.Clone(only)
	secrets := 0
	for _, name := range only {
		if _, ok := words().actions[actionUID(name)]; !ok {
			return "", fmt.Errorf("no action is called %q (known: %s)", name, strings.Join(Actions(), ", "))
		}
		if strings.HasPrefix(name, "secret:") {
			secrets++
		}
		if slices.Contains(useActions(), name) {
			wanted = append(wanted, "release")
		}
	}
	if secrets > 0 && secrets < len(only) {
		return "", errors.New("actions on keys and on secrets can't be granted together")
	}
	for _, name := range Actions() {
		if slices.Contains(wanted, name) {
			g.actions = append(g.actions, name)
		}
	}
	if secrets > 0 {
		return "Secret", nil
	}
	return "Key", nil
}

// id names the permit. A path and a key's name hold no colon, and a SPIFFE id
// only the one of its scheme, so two grants never share a name; one that is no
// policy name (too long, or of a secret with a wider name) is hashed.
func (g grant) id() string {
	id := "allow-" + g.who + ":" + string(g.resource.ID)
	if g.resource.Type == "Secret" {
		id = "allow-secret:" + g.who + ":" + string(g.resource.ID)
	}
	if !validPolicyID(id) {
		sum := sha256.Sum256([]byte(id))
		id = "allow-" + hex.EncodeToString(sum[:16])
	}
	return id
}

// text is the permit. Names stand in it through Cedar's own escaping, although
// what passed the checks needs none.
func (g grant) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "@id(%q)\npermit (\n", g.id())
	byPath := !wire.ValidID(g.who)
	if byPath {
		b.WriteString("    principal is Workload,\n")
	} else {
		fmt.Fprintf(&b, "    principal == %s,\n", cedar.NewEntityUID("Workload", cedar.String(g.who)))
	}
	uids := make([]string, len(g.actions))
	for i, name := range g.actions {
		uids[i] = actionUID(name).String()
	}
	fmt.Fprintf(&b, "    action in [%s],\n", strings.Join(uids, ", "))
	fmt.Fprintf(&b, "    resource == %s\n)", g.resource)
	if byPath {
		fmt.Fprintf(&b, "\nwhen { principal has path && principal.path == %s }", cedar.String(g.who).MarshalCedar())
	}
	b.WriteString(";")
	return b.String()
}

// writeTo puts the permit into the source of set: at its end, or in the place of
// the one that is there.
func (g grant) writeTo(set *Set) ([]byte, error) {
	i := slices.IndexFunc(set.rules, func(r rule) bool { return r.info.ID == g.id() })
	if i < 0 {
		out := bytes.Clone(set.source)
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		if len(out) > 0 {
			out = append(out, '\n')
		}
		return append(out, g.text()+"\n"...), nil
	}
	old := set.rules[i]
	had := g
	had.actions = scopeActions(old.ast.Action)
	if old.info.Text != had.text() {
		return nil, fmt.Errorf("policy %s (line %d) was edited by hand: change it there", g.id(), old.info.Position.Line)
	}
	if extra := without(had.actions, g.actions); len(extra) > 0 {
		if len(without(g.actions, had.actions)) == 0 {
			return nil, fmt.Errorf("policy %s (line %d) already gives more: %s too; to take it away, edit the policy", g.id(), old.info.Position.Line, strings.Join(extra, ", "))
		}
		g.actions = slices.DeleteFunc(Actions(), func(name string) bool {
			return !slices.Contains(g.actions, name) && !slices.Contains(extra, name)
		})
	}
	start := old.info.Position.Offset
	end := start + len(old.info.Text)
	return slices.Concat(set.source[:start], []byte(g.text()), set.source[end:]), nil
}

// scopeActions are the actions that a generated permit lists.
func scopeActions(node ast.IsActionScopeNode) []string {
	in, ok := node.(ast.ScopeTypeInSet)
	if !ok {
		return nil
	}
	names := make([]string, len(in.Entities))
	for i, uid := range in.Entities {
		names[i] = string(uid.ID)
	}
	return names
}

// without returns the items of a that aren't in b.
func without(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}
