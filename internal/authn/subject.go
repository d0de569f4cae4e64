// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"claviger/internal/wire"
)

// Bounds of what a door's credential may prove.
const (
	MaxSubjectID  = 512  // bytes of "ENDPOINT:NAME", as audit leaves and policies take them
	maxClaimBytes = 2048 // of one attribute
)

// SubjectClaims are what a verifier of a door's credential has proved.
type SubjectClaims struct {
	Endpoint     string // its name in the authority log
	EndpointKind string // xks, vault, kacls, dke, salesforce or kes
	Name         string // whom the credential names, within the endpoint
	// Attributes are further claims, under the names that the policy schema gives
	// a Subject: issuer, subject, email, arn, account, certificate, all strings,
	// and groups, a []string. What was not proved is absent, never empty.
	Attributes map[string]any
	Key        wire.Hash // of the credential: names it in revocations, is no secret
	NotAfter   time.Time // when the credential ends; zero if it doesn't by itself
}

// Check says what keeps the claims from naming anybody. Names come from
// strangers' certificates and tokens, and go into policies, the audit log and
// people's terminals.
func (c SubjectClaims) Check() error {
	switch {
	case c.EndpointKind == "":
		return refused("an endpoint without a kind")
	// An endpoint's name has no colon, and "spiffe:" with two slashes begins the ids
	// of workloads.
	case !wire.ValidEndpointName(c.Endpoint) || !wire.ValidSubject(c.Endpoint+":"+c.Name):
		return refused("the credential's name is empty, too long or not plain text")
	case len(c.Endpoint)+1+len(c.Name) > MaxSubjectID || strings.ContainsFunc(c.Name, unprintable):
		return refused("the credential's name is too long or not plain text")
	}
	for name, v := range c.Attributes {
		if groups, ok := v.([]string); ok && name == GroupsAttribute {
			if err := checkGroups(groups); err != nil {
				return err
			}
			continue
		}
		text, ok := v.(string)
		if !slices.Contains(SubjectAttributes(), name) || !ok || text == "" || len(text) > maxClaimBytes || !utf8.ValidString(text) {
			return fmt.Errorf("%w: the credential's %.20q is unknown, empty, too long or no text", ErrRefused, name)
		}
	}
	return nil
}

// GroupsAttribute is the one attribute that is a set.
const GroupsAttribute = "groups"

const (
	maxGroups     = 200 // as many as Microsoft puts into a token
	maxGroupBytes = 128
)

// checkGroups bounds the groups of a subject. Too many are refused, not cut: a rule
// that forbids something to a group must see all of them.
func checkGroups(groups []string) error {
	if len(groups) == 0 || len(groups) > maxGroups {
		return fmt.Errorf("%w: no groups, or more than %d", ErrRefused, maxGroups)
	}
	for _, g := range groups {
		if g == "" || len(g) > maxGroupBytes || !utf8.ValidString(g) {
			return fmt.Errorf("%w: the name of a group is empty, too long or no text", ErrRefused)
		}
	}
	return nil
}

// anyone is the subject that has proved nothing.
const anyone = "anyone"

// Anyone is the caller of an endpoint whose protocol asks for something without
// saying who asks. Policy permits it by name, and by no attribute.
func Anyone(endpoint, kind string) *Caller {
	return SubjectCaller(SubjectClaims{Endpoint: endpoint, EndpointKind: kind, Name: anyone})
}

// SubjectAttributes are the names of what a credential may prove of its subject.
func SubjectAttributes() []string {
	return []string{"account", "arn", "certificate", "email", "issuer", "subject"}
}

// unprintable are the characters that an audit leaf takes from nobody.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// SubjectCaller makes the Caller that a door's credential names. Its id is
// "ENDPOINT:NAME", so that two endpoints never mean the same one. Claims that
// don't pass [SubjectClaims.Check] make a caller that is not Proved.
//
// Security: it believes what it is given, so only packages below this one call
// it, each after it verified a credential; a door turns what came over the wire
// into a Caller by theirs (a test of the architecture holds this). T-11
func SubjectCaller(c SubjectClaims) *Caller {
	if c.Check() != nil {
		return &Caller{}
	}
	attributes := maps.Clone(c.Attributes)
	if attributes == nil {
		attributes = map[string]any{}
	}
	attributes["kind"] = c.EndpointKind
	return &Caller{
		Kind: Subject, ID: c.Endpoint + ":" + c.Name, Attributes: attributes, Endpoint: c.Endpoint, EndpointKind: c.EndpointKind,
		Key: c.Key, NotAfter: c.NotAfter, proved: true,
	}
}
