// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"strings"
	"testing"
	"time"

	"claviger/internal/wire"
)

func someClaims() SubjectClaims {
	return SubjectClaims{
		Endpoint: "xks-prod", EndpointKind: "xks", Name: "arn:aws:iam::123456789012:user/Alice",
		Attributes: map[string]any{"arn": "arn:aws:iam::123456789012:user/Alice", "account": "123456789012"},
		Key:        wire.Hash{7}, NotAfter: time.Unix(1_800_000_000, 0),
	}
}

func TestSubjectCaller(t *testing.T) {
	claims := someClaims()
	c := SubjectCaller(claims)
	if !c.Proved() || c.Kind != Subject || c.Kind.String() != "Subject" || c.ID != "xks-prod:arn:aws:iam::123456789012:user/Alice" ||
		c.Endpoint != "xks-prod" || c.EndpointKind != "xks" || c.Key != claims.Key || !c.NotAfter.Equal(claims.NotAfter) {
		t.Fatalf("%+v", c)
	}
	if len(c.Attributes) != 3 || c.Attributes["kind"] != "xks" || c.Attributes["account"] != "123456789012" {
		t.Errorf("attributes %v", c.Attributes)
	}
	claims.Attributes["account"] = "999999999999"
	if c.Attributes["account"] != "123456789012" || claims.Attributes["kind"] != nil {
		t.Error("the caller shares its attributes with the claims")
	}
	if bare := SubjectCaller(SubjectClaims{Endpoint: "a", EndpointKind: "kes", Name: "b"}); !bare.Proved() || bare.Attributes["kind"] != "kes" {
		t.Errorf("%+v", bare)
	}
}

// TestSubjectClaims: what can't be a name, or would be taken for another's, names
// nobody.
func TestSubjectClaims(t *testing.T) {
	for name, change := range map[string]func(*SubjectClaims){
		"no endpoint":           func(c *SubjectClaims) { c.Endpoint = "" },
		"an endpoint with a :":  func(c *SubjectClaims) { c.Endpoint = "a:b" },
		"a workload's id":       func(c *SubjectClaims) { c.Endpoint, c.Name = "spiffe", "//acme.example/workload/app1" },
		"capitals":              func(c *SubjectClaims) { c.Endpoint = "Xks" },
		"a dash in front":       func(c *SubjectClaims) { c.Endpoint = "-xks" },
		"a long endpoint":       func(c *SubjectClaims) { c.Endpoint = strings.Repeat("x", 64) },
		"no kind":               func(c *SubjectClaims) { c.EndpointKind = "" },
		"no name":               func(c *SubjectClaims) { c.Name = "" },
		"a line end":            func(c *SubjectClaims) { c.Name = "alice\nbob" },
		"a direction mark":      func(c *SubjectClaims) { c.Name = "alice\u202ebob" },
		"a zero-width space":    func(c *SubjectClaims) { c.Name = "alice\u200b" },
		"a filler":              func(c *SubjectClaims) { c.Name = "alice\u3164" },
		"no UTF-8":              func(c *SubjectClaims) { c.Name = "alice\xff" },
		"a long name":           func(c *SubjectClaims) { c.Name = strings.Repeat("n", MaxSubjectID) },
		"an unknown attribute":  func(c *SubjectClaims) { c.Attributes["group"] = "admins" },
		"a kind of its own":     func(c *SubjectClaims) { c.Attributes["kind"] = "kes" },
		"an empty attribute":    func(c *SubjectClaims) { c.Attributes["email"] = "" },
		"a number":              func(c *SubjectClaims) { c.Attributes["account"] = 5 },
		"a set":                 func(c *SubjectClaims) { c.Attributes["account"] = []string{"1"} },
		"an attribute in bytes": func(c *SubjectClaims) { c.Attributes["subject"] = "\xff" },
		"a long attribute":      func(c *SubjectClaims) { c.Attributes["subject"] = strings.Repeat("s", 2049) },
	} {
		claims := someClaims()
		change(&claims)
		if err := claims.Check(); err == nil {
			t.Errorf("%s: taken", name)
		}
		if c := SubjectCaller(claims); c == nil || c.Proved() || c.ID != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if err := someClaims().Check(); err != nil {
		t.Error(err)
	}
}
