// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
)

// Reasons of refusals that name no policy.
const (
	ReasonNone  = "no policy allows it"
	ReasonError = "policy error"
)

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	// Policies are the ids of the deciding policies in the order of the source:
	// every permit that matched, or every forbid that matched. Empty for a
	// default deny and after an error.
	Policies []string
	// Reason ends the sentence "app1 may not encrypt with payments/cards (…)":
	// ReasonNone, "policy NAME forbids it" or ReasonError; "policy NAME permits
	// it" if allowed.
	Reason string
	// Errors say what couldn't be evaluated. They may quote names and attributes
	// of the request, and belong into the log, not into an answer.
	Errors []string
	// Lasting says that no policy which could matter reads the context: whoever asks
	// for the same with another context gets the same answer from this set, as
	// long as that context passes [Context.Check].
	Lasting bool
	// Alarm is set exactly when Errors isn't empty: something is broken that a
	// person has to look at.
	Alarm bool
}

// Decide answers a request. What no permit matches is refused; what a forbid
// matches is refused; and if anything fails to evaluate, in whatever policy, the
// request is refused and Alarm is set. Security: Cedar itself skips a policy that
// fails, so that a broken forbid would forbid nothing.
func (s *Set) Decide(r Request) Decision {
	f, err := r.facts()
	if err != nil {
		return failed(err.Error())
	}
	return s.decide(f, s.index.candidates(f))
}

func (s *Set) decide(f *facts, chosen []int32) Decision {
	answer, found := cedar.Authorize(candidateRules{s.rules, chosen}, f.entities, f.request)
	if len(found.Errors) > 0 {
		messages := make([]string, len(found.Errors))
		for i, e := range found.Errors {
			messages[i] = fmt.Sprintf("policy %s, line %d: %s", e.PolicyID, e.Position.Line, e.Message)
		}
		return failed(messages...)
	}
	d := Decision{Allowed: answer == cedar.Allow, Reason: ReasonNone, Lasting: !s.readContext(chosen)}
	for _, reason := range found.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	if len(d.Policies) > 0 {
		verb := "forbids"
		if d.Allowed {
			verb = "permits"
		}
		d.Reason = fmt.Sprintf("policy %s %s it", d.Policies[0], verb)
	}
	return d
}

// readContext reports whether any of these rules reads the context.
func (s *Set) readContext(chosen []int32) bool {
	return slices.ContainsFunc(chosen, func(i int32) bool { return s.rules[i].context })
}

func failed(messages ...string) Decision {
	return Decision{Reason: ReasonError, Errors: messages, Alarm: true}
}
