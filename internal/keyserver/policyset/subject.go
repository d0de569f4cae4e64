// SPDX-License-Identifier: Apache-2.0

package policyset

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"claviger/internal/audit/attributes"
	"claviger/internal/authn"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// Subject is whom a door's credential names, with all that decides about it beyond
// its name.
type Subject struct {
	// Record is the attribute record: what was proved and what the door said, for
	// the audit log.
	Record []byte

	caller *authn.Caller
	name   string // within its endpoint
	asked  map[string]string
	hash   wire.Hash // of Record
}

// principal is the subject as policies see it.
func (s *Subject) principal() policy.Principal {
	return policy.Subject(s.caller.Endpoint, s.name, s.caller.EndpointKind).Prove(s.caller.Attributes)
}

// SubjectOf takes what decides about a door's caller from the caller and from what
// the door says of the request. Claims that can't be recorded can't be decided on.
func SubjectOf(c *authn.Caller, asked map[string]string) (*Subject, error) {
	name, ok := strings.CutPrefix(c.ID, c.Endpoint+":")
	if c.Kind != authn.Subject || !ok {
		return nil, fmt.Errorf("a caller of kind %s is no endpoint's subject", c.Kind)
	}
	record, err := attributes.Of("Subject", c.Attributes, asked)
	if err != nil {
		return nil, err
	}
	data, err := record.Encode()
	if err != nil {
		return nil, err
	}
	return &Subject{Record: data, caller: c, name: name, asked: asked, hash: sha256.Sum256(data)}, nil
}
