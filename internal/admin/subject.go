// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// AnySubject is the name of a subject that stands for those whom nobody listed.
const AnySubject = "*"

// CallerID is what policy and the audit log call who: a workload by its SPIFFE id,
// an endpoint's subject by ENDPOINT:NAME.
func CallerID(s *authority.State, who string) (string, error) {
	endpoint, _, _ := strings.Cut(who, ":")
	if !wire.ValidSubject(who) {
		return ClientID(s, who)
	}
	if s.Endpoint(endpoint) == nil {
		return "", fmt.Errorf("there is no endpoint %s", endpoint)
	}
	return who, nil
}

// PrincipalOf is how policy sees a caller by its id, with what is known of it: nil
// of a workload, and of a subject of whom nothing but its endpoint is.
func PrincipalOf(s *authority.State, id string, known *Attributes) policy.Principal {
	if !wire.ValidSubject(id) {
		return policy.Workload(id, s.Members.Genesis.Name)
	}
	endpoint, name, _ := strings.Cut(id, ":")
	kind := ""
	if e := s.Endpoint(endpoint); e != nil {
		kind = e.Kind
	}
	if known == nil {
		return policy.Subject(endpoint, name, kind)
	}
	// What was proved says the kind too: that of the moment, should the endpoint be
	// another now.
	if was, ok := known.Proved["kind"].(string); ok {
		kind = was
	}
	return policy.Subject(endpoint, name, kind).Prove(known.Proved)
}

// Candidates are the callers that the log knows: every workload that enrolled, the
// subjects that credentials of endpoints name, and for each endpoint [AnySubject]
// with nothing proved, which stands for the others.
func Candidates(s *authority.State) []policy.Principal {
	var out []policy.Principal
	seen := map[string]bool{}
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			out = append(out, PrincipalOf(s, id, nil))
		}
	}
	for c := range s.Clients() {
		add(c.ID)
	}
	for e := range s.Endpoints() {
		if e.Removed {
			continue
		}
		for _, c := range e.Credentials {
			switch {
			case c.Subject == "":
			case e.Kind == "vault": // whose names say how somebody came in: token:NAME, approle:NAME
				add(e.Name + ":" + c.Use + ":" + c.Subject)
			default:
				add(e.Name + ":" + c.Subject)
			}
		}
		add(e.Name + ":" + AnySubject)
	}
	return out
}
