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
	MaxSubjectID  = 320  // bytes of "ENDPOINT:NAME": with a ":" it stays a text that an audit leaf takes
	maxClaimBytes = 2048 // of one attribute
)

// SubjectClaims are what a verifier of a door's credential has proved.
type SubjectClaims struct {
	Endpoint     string // its name in the authority log
	EndpointKind string // xks, vault, kacls, dke, salesforce or kes
	Name         string // whom the credential names, within the endpoint
	// Attributes are further claims, under the names that the policy schema gives
	// a Subject: issuer, subject, email, arn, account, certificate. All are
	// strings. What was not proved is absent, never empty.
	Attributes map[string]any
	Key        wire.Hash // of the credential: names it in revocations, is no secret
	NotAfter   time.Time // when the credential ends; zero if it doesn't by itself
}

// Check says what keeps the claims from naming anybody. Names come from
// strangers' certificates and tokens, and go into policies, the audit log and
// people's terminals.
func (c SubjectClaims) Check() error {
	switch {
	case !ValidEndpointName(c.Endpoint):
		return refused("no endpoint has such a name")
	case c.EndpointKind == "":
		return refused("an endpoint without a kind")
	case !printable(c.Name) || len(c.Endpoint)+1+len(c.Name) > MaxSubjectID:
		return refused("the credential's name is empty, too long or not plain text")
	}
	for name, v := range c.Attributes {
		text, ok := v.(string)
		if !slices.Contains(SubjectAttributes(), name) || !ok || text == "" || len(text) > maxClaimBytes || !utf8.ValidString(text) {
			return fmt.Errorf("%w: the credential's %.20q is unknown, empty, too long or no text", ErrRefused, name)
		}
	}
	return nil
}

// SubjectAttributes are the names of what a credential may prove of its subject.
func SubjectAttributes() []string {
	return []string{"account", "arn", "certificate", "email", "issuer", "subject"}
}

// ValidEndpointName reports whether an endpoint may have this name. "spiffe" is
// not one: a subject's id would look like a workload's.
func ValidEndpointName(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' || name == "spiffe" {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// printable reports whether s is text that shows as what it is: neither the audit
// log nor a policy takes anything else as a caller.
func printable(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsAny(s, fillers) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// fillers are letters that show as nothing.
const fillers = "\u115f\u1160\u3164\uffa0"

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
