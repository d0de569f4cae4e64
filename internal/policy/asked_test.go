// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
)

// fromKMS is a request of an AWS principal that came by an endpoint, with what
// the door says of it.
func fromKMS(asked map[string]string) Request {
	r := at("decrypt", "storage/buckets", Subject("xks-prod", "arn:aws:iam::123456789012:user/Alice", "xks").Prove(map[string]any{
		"arn": "arn:aws:iam::123456789012:user/Alice", "account": "123456789012",
	}))
	r.Context.Route, r.Context.Asked = "xks", asked
	return r
}

// TestAskedClaims: policies see what a door says of a request, under the schema's
// names and no others.
func TestAskedClaims(t *testing.T) {
	var own []string
	for name := range words().context {
		if !slices.Contains([]string{"time", "partition", "purpose", "reason", "route"}, string(name)) {
			own = append(own, string(name))
		}
	}
	slices.Sort(own)
	if !slices.Equal(own, AskedClaims()) {
		t.Errorf("the schema has %v, AskedClaims %v", own, AskedClaims())
	}
	for _, name := range AskedClaims() {
		if words().context[cedar.String(name)] != kindString {
			t.Errorf("%s is no String", name)
		}
		set := mustParse(t, `permit (principal in Endpoint::"xks-prod", action, resource) when { context has `+name+` && context.`+name+` == "x" };`)
		for _, c := range []struct {
			asked   map[string]string
			allowed bool
		}{{nil, false}, {map[string]string{name: "x"}, true}, {map[string]string{name: "y"}, false}} {
			if d := set.Decide(fromKMS(c.asked)); d.Allowed != c.allowed || d.Alarm || d.Lasting {
				t.Errorf("%s, asked %v: %+v", name, c.asked, d)
			}
		}
	}
}

// TestAskedIsBounded: a claim that no request may have makes it an error, also for
// a set that doesn't look at it.
func TestAskedIsBounded(t *testing.T) {
	set := mustParse(t, `permit (principal, action, resource);`)
	good := map[string]string{"kmsOperation": "Encrypt", "sourceVpc": strings.Repeat("v", maxValueBytes)}
	if d := set.Decide(fromKMS(good)); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	for name, change := range map[string]func(map[string]string){
		"an unknown name":     func(m map[string]string) { m["kmsRequestId"] = "1" },
		"a name of ours":      func(m map[string]string) { m["route"] = "native" },
		"the time":            func(m map[string]string) { m["time"] = "2026" },
		"an empty value":      func(m map[string]string) { m["sourceVpc"] = "" },
		"a long value":        func(m map[string]string) { m["sourceVpc"] += "v" },
		"a value of no UTF-8": func(m map[string]string) { m["sourceVpc"] = "\xff" },
	} {
		asked := maps.Clone(good)
		change(asked)
		r := fromKMS(asked)
		if d := set.Decide(r); d.Allowed || !d.Alarm || r.Context.Check() == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestAskedInExplain: why and who-can tell of a door's claims like of the rest of
// the context.
func TestAskedInExplain(t *testing.T) {
	set := mustParse(t, `@id("s3") permit (principal, action, resource) when { context has kmsViaService && context.kmsViaService == "s3.eu-central-1.amazonaws.com" };`)
	explained := set.Explain(fromKMS(map[string]string{"kmsViaService": "ebs.eu-central-1.amazonaws.com"}))
	if explained.Decision.Allowed || len(explained.Near) != 1 || !strings.Contains(explained.Near[0].Wanted, "kmsViaService") || !strings.Contains(explained.Near[0].Found, "ebs.") {
		t.Errorf("%+v", explained)
	}
	for _, a := range set.WhoCan("decrypt", Resource{Type: "Key", Name: "storage/buckets"}, []Principal{fromKMS(nil).Principal}) {
		if a.Verdict != Depends || len(a.Conditions) != 1 || !strings.Contains(a.Conditions[0], "kmsViaService") {
			t.Errorf("%+v", a)
		}
	}
}
