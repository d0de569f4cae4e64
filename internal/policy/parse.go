// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// maxErrors bounds how many problems of one source are reported together.
const maxErrors = 10

// maxIDBytes bounds a policy's name.
const maxIDBytes = 512

// Set is a policy set that passed every check, compiled and indexed. It doesn't
// change and is safe for concurrent use.
type Set struct {
	source []byte
	rules  []rule
	index  index
}

// rule is one policy of a set.
type rule struct {
	info     PolicyInfo
	named    bool // by an @id
	compiled *cedar.Policy
	ast      *ast.Policy
	actions  uint32 // bits of the actions its scope names
	context  bool   // its conditions read the context
}

// Position is a place in a policy source.
type Position struct {
	Line   int `json:"line"`   // from 1
	Column int `json:"column"` // in characters, from 1
	Offset int `json:"offset"` // in bytes, from 0
}

// PolicyInfo describes one policy of a set.
type PolicyInfo struct {
	ID          string   `json:"id"` // its @id, or "policyN", counted from 1
	Description string   `json:"description,omitempty"`
	Position    Position `json:"position"`
	Effect      string   `json:"effect"` // "permit" or "forbid"
	Text        string   `json:"text"`   // as in the source, from its first annotation to its semicolon
}

// Parse checks a policy source as strictly as it can be checked without a
// request, and compiles it. It refuses:
//
//   - what isn't Cedar, what breaks a limit (MaxSource, MaxPolicies and the
//     others beside them) and what holds invisible characters;
//   - words that the schema doesn't know: entity types, actions, attributes (also
//     behind "has", where Cedar itself would take a misspelt word for an absent
//     claim), annotations other than @id and @description, ids that no request
//     can carry;
//   - wrong types, and reads of an optional attribute or tag that no "has" or
//     "hasTag" guards, in permits as in forbids;
//   - two policies of one name.
//
// A source without policies is valid and denies everything. The error names
// policy and line, and reports up to ten problems, one per line.
func Parse(source []byte) (*Set, error) {
	spans, err := scan(source)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	list, err := cedar.NewPolicyListFromBytes("", source)
	if err != nil {
		return nil, fmt.Errorf("read policies: %s", plainPosition(err))
	}
	if err := agree(list, spans); err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	s := &Set{source: bytes.Clone(source), rules: make([]rule, len(list))}
	var problems []error
	names := make(map[string]int, len(list))
	tagWork := 0
	for i, p := range list {
		r, err := newRule(i, p, s.source, spans[i], &tagWork)
		if err == nil {
			err = takeName(names, r.info)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("policy %s, line %d: %w", r.info.ID, r.info.Position.Line, err))
		}
		if len(problems) == maxErrors {
			break
		}
		s.rules[i] = r
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	s.index = newIndex(s.rules)
	return s, nil
}

// agree compares what Cedar's parser found with what scan found. Security: the
// text of a policy that people are shown comes from scan, its meaning from Cedar;
// both have to be about the same bytes.
func agree(list cedar.PolicyList, spans []span) error {
	if len(list) != len(spans) {
		return fmt.Errorf("%d policies, but %d ends", len(list), len(spans))
	}
	for i, p := range list {
		if p.Position().Offset != spans[i].start {
			return fmt.Errorf("policy %d starts at byte %d, but was read from byte %d", i+1, spans[i].start, p.Position().Offset)
		}
	}
	return nil
}

// plainPosition rewrites the parser's "<input>:3:5" as "line 3:5".
func plainPosition(err error) string {
	return strings.ReplaceAll(err.Error(), "<input>:", "line ")
}

// newRule checks one policy. tagWork adds up over the set; see maxTagWork.
func newRule(i int, p *cedar.Policy, source []byte, at span, tagWork *int) (rule, error) {
	pos := p.Position()
	r := rule{
		compiled: p,
		ast:      (*ast.Policy)(p.AST()),
		info: PolicyInfo{
			ID:       fmt.Sprintf("policy%d", i+1),
			Position: Position{Line: pos.Line, Column: pos.Column, Offset: pos.Offset},
			Effect:   "forbid",
			Text:     string(source[at.start:at.end]),
		},
	}
	if p.Effect() == cedar.Permit {
		r.info.Effect = "permit"
	}
	if err := r.annotate(p.Annotations()); err != nil {
		return r, err
	}
	tags, err := lint(r.ast)
	if err != nil {
		return r, err
	}
	if *tagWork += tags * tags; *tagWork > maxTagWork {
		return r, errors.New("the set asks for tags too often: spread them over fewer policies")
	}
	if err := words().validator.Policy("", r.ast); err != nil {
		return r, oneLine(err)
	}
	r.actions = actionBits(r.ast.Action)
	r.context = slices.ContainsFunc(r.ast.Conditions, func(c ast.ConditionType) bool { return readsContext(c.Body) })
	return r, nil
}

// annotate takes the annotations this product knows. An unknown one is refused:
// a misspelt annotation would do nothing, silently.
func (r *rule) annotate(all cedar.Annotations) error {
	for key, value := range all {
		switch key {
		case "id":
			if !validPolicyID(string(value)) {
				return fmt.Errorf("@id needs 1 to %d characters of a-z A-Z 0-9 . _ : / -", maxIDBytes)
			}
			r.info.ID, r.named = string(value), true
		case "description":
			if value != "" && !plainText(string(value)) {
				return fmt.Errorf("@description holds invisible characters")
			}
			r.info.Description = string(value)
		default:
			return fmt.Errorf("annotation @%s is unknown (known: @id, @description)", key)
		}
	}
	return nil
}

func validPolicyID(s string) bool {
	if s == "" || len(s) > maxIDBytes {
		return false
	}
	for _, c := range []byte(s) {
		if !isWord(c) && !strings.ContainsRune(".:/-", rune(c)) {
			return false
		}
	}
	return true
}

func takeName(names map[string]int, info PolicyInfo) error {
	if line, taken := names[info.ID]; taken {
		return fmt.Errorf("the name is taken by the policy in line %d", line)
	}
	names[info.ID] = info.Position.Line
	return nil
}

// oneLine joins the validator's findings, which repeat themselves.
func oneLine(err error) error {
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines)
	lines = slices.Compact(lines)
	if len(lines) > maxErrors {
		lines = lines[:maxErrors]
	}
	return errors.New(strings.Join(lines, "; "))
}

// Source returns a copy of the bytes the set was parsed from.
func (s *Set) Source() []byte { return bytes.Clone(s.source) }

// Hash is the SHA-256 of the source: the name under which the audit log keeps
// the set.
func (s *Set) Hash() [32]byte { return sha256.Sum256(s.source) }

// Policies describes the policies in the order of the source.
func (s *Set) Policies() []PolicyInfo {
	out := make([]PolicyInfo, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.info
	}
	return out
}
