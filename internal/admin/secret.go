// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"slices"
	"time"

	"claviger/internal/authority"
	"claviger/internal/policy"
)

// secretDecision adds what policy was asked about a secret, once. A folder that was
// listed stands for what may come in it, as the key server puts it.
func secretDecision(state *authority.State, l Leaf, seen map[string]bool, out []policy.Request) []policy.Request {
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	resource := policy.Resource{Type: "Secret", Name: l.Resource}
	if slices.Contains(l.Operations, "list") {
		resource.Name += "/*"
	}
	name := fmt.Sprintf("%q %q %q %q", l.Caller, l.Action, resource.Name, l.Attributes.text())
	if l.Kind != "decision" || err != nil || seen[name] || !policy.ValidSecret(resource.Name) {
		return out
	}
	seen[name] = true
	r := policy.Request{
		Principal: PrincipalOf(state, l.Caller, l.Attributes), Action: l.Action, Resource: resource,
		Context: policy.Context{Time: at, Reason: l.Stated, Route: l.Route},
	}
	if l.Attributes != nil {
		r.Context.Asked = l.Attributes.Asked
	}
	return append(out, r)
}
