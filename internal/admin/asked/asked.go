// SPDX-License-Identifier: Apache-2.0

// Package asked turns what the audit log says of decisions back into the questions
// that policy was asked, for putting them to another set ([Decisions], for `policy
// plan`).
//
// It asks nothing itself and knows no set. What people or machines would prove today
// isn't known here: the facts are those of the leaf.
package asked

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/policy"
)

// Decisions turns leaves into the requests that policy decided, each once, for
// replaying them against another set. Of a leaf for a release every operation
// counts, and the release itself. A decision about a subject whose attribute record
// isn't with it (an old leaf's) is put as if nothing had been proved.
func Decisions(state *authority.State, leaves []admin.Leaf) []policy.Request {
	var out []policy.Request
	seen := map[string]bool{}
	for _, l := range leaves {
		if strings.HasPrefix(l.Action, "secret:") {
			out = secret(state, l, seen, out)
			continue
		}
		key := state.KeyNamed(l.Resource)
		if l.Kind != "decision" || key == nil || l.Purpose == "" && len(l.Operations) == 0 {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, l.Time)
		if err != nil {
			continue
		}
		actions := l.Operations
		if l.Action == "release" {
			actions = append([]string{"release"}, actions...)
		}
		for _, action := range actions {
			r := admin.UseRequest(admin.PrincipalOf(state, l.Caller, l.Attributes), action, key)
			r.Context = policy.Context{Time: at, Purpose: l.Purpose, Partition: string(l.Partition), Reason: l.Stated, Route: l.Route}
			if l.Attributes != nil {
				r.Context.Asked = l.Attributes.Asked
			}
			name := fmt.Sprintf("%q %q %q %q %q %q", l.Caller, action, l.Resource, l.Purpose, l.Partition, textOf(l.Attributes))
			if !seen[name] {
				seen[name] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// secret adds what policy was asked about a secret, once. A folder that was
// listed stands for what may come in it, as the key server puts it.
func secret(state *authority.State, l admin.Leaf, seen map[string]bool, out []policy.Request) []policy.Request {
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	resource := policy.Resource{Type: "Secret", Name: l.Resource}
	if slices.Contains(l.Operations, "list") {
		resource.Name += "/*"
	}
	name := fmt.Sprintf("%q %q %q %q", l.Caller, l.Action, resource.Name, textOf(l.Attributes))
	if l.Kind != "decision" || err != nil || seen[name] || !policy.ValidSecret(resource.Name) {
		return out
	}
	seen[name] = true
	r := policy.Request{
		Principal: admin.PrincipalOf(state, l.Caller, l.Attributes), Action: l.Action, Resource: resource,
		Context: policy.Context{Time: at, Reason: l.Stated, Route: l.Route},
	}
	if l.Attributes != nil {
		r.Context.Asked = l.Attributes.Asked
	}
	return append(out, r)
}

// textOf tells records apart: the same claims are the same text.
func textOf(a *admin.Attributes) string {
	if a == nil {
		return ""
	}
	data, err := json.Marshal(a) // maps in the order of names
	if err != nil {
		return ""
	}
	return string(data)
}
