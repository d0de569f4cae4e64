// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// rulesFor writes n permits, each for one workload and one key.
func rulesFor(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i, i)
	}
	return b.String()
}

const (
	rulesByID   = "permit (principal == Workload::\"spiffe://acme.example/workload/a%d\", action, resource == Key::\"k%d\");\n"
	rulesByPath = "permit (principal is Workload, action, resource == Key::\"k%d\") when { principal has path && principal.path == \"a%d\" };\n"
	sameKey     = "permit (principal is Workload, action, resource == Key::\"k1\") when { principal has path && principal.path == \"a%d\" }; // %d\n"
)

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 100, 9_500} { // the path rules of 10,000 would pass MaxSource
		for name, format := range map[string]string{"id": rulesByID, "path": rulesByPath, "sameKey": sameKey} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				source := rulesFor(n, format)
				s, err := Parse([]byte(source[:min(len(source), lastLine(source))]))
				if err != nil {
					b.Fatal(err)
				}
				key := "k0"
				if name == "sameKey" {
					key = "k1"
				}
				r := at("encrypt", key, app("a0", map[string]any{"region": "eu", "node": "n1", "attestation": 2, "provider": "own", "image": "sha256:1"}))
				if d := s.Decide(r); !d.Allowed {
					b.Fatalf("%+v", d)
				}
				b.ReportAllocs()
				for b.Loop() {
					s.Decide(r)
				}
			})
		}
	}
}

// tenThousand are as many rules as a set may have, of the kinds that people mix: most
// name a workload, some a path, some a folder, and some hold for everybody.
func tenThousand() string {
	var b strings.Builder
	for i := range MaxPolicies {
		switch {
		case i%1000 == 999:
			fmt.Fprintf(&b, "forbid(principal,action==Action::\"sign\",resource in Folder::\"f%d\");\n", i/1000)
		case i%1000 == 998:
			fmt.Fprintf(&b, "permit(principal in Path::\"team%d\",action,resource in Folder::\"f%d\");\n", i/1000, i/1000)
		case i%4 == 3:
			fmt.Fprintf(&b, "permit(principal is Workload,action,resource==Key::\"f%d/k%d\")when{principal has path&&principal.path==\"team%d/a%d\"};\n", i%10, i, i%10, i)
		default:
			fmt.Fprintf(&b, "permit(principal==Workload::\"spiffe://acme.example/workload/a%d\",action,resource==Key::\"k%d\");\n", i, i)
		}
	}
	return b.String()
}

// BenchmarkDecideOfTenThousand asks a set of 10,000 rules.
func BenchmarkDecideOfTenThousand(b *testing.B) {
	s := mustParse(b, tenThousand())
	if len(s.rules) != MaxPolicies {
		b.Fatalf("%d rules", len(s.rules))
	}
	claims := map[string]any{"region": "eu", "node": "n1", "attestation": 2, "provider": "own", "image": "sha256:1"}
	for name, c := range map[string]struct {
		request Request
		allowed bool
	}{
		"id":      {at("encrypt", "k4712", app("a4712", claims)), true},
		"path":    {at("encrypt", "f1/k4711", app("team1/a4711", claims)), true},
		"folder":  {at("encrypt", "f3/anything", app("team3/a1", claims)), true},
		"forbid":  {at("sign", "f1/k4711", app("team1/a4711", claims)), false},
		"nothing": {at("encrypt", "k4712", app("a4713", claims)), false},
	} {
		b.Run(name, func(b *testing.B) {
			if d := s.Decide(c.request); d.Allowed != c.allowed || d.Alarm {
				b.Fatalf("%+v", d)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(c.request)
			}
		})
	}
}

// lastLine is where the last line that fits into MaxSource ends.
func lastLine(source string) int {
	if len(source) <= MaxSource {
		return len(source)
	}
	return strings.LastIndexByte(source[:MaxSource], '\n') + 1
}

func BenchmarkParse(b *testing.B) {
	source := []byte(rulesFor(8_000, rulesByID))
	for b.Loop() {
		if _, err := Parse(source); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExplain(b *testing.B) {
	s := mustParse(b, rulesFor(8_000, rulesByID))
	r := at("encrypt", "k1", app("a0", nil))
	for b.Loop() {
		if e := s.Explain(r); len(e.Near) == 0 {
			b.Fatal("nothing near")
		}
	}
}

// TestTenThousandAgree: what is decided from the few rules that the index finds is what
// all 10,000 together decide.
func TestTenThousandAgree(t *testing.T) {
	s := mustParse(t, tenThousand())
	all := make([]int32, len(s.rules))
	for i := range all {
		all[i] = int32(i)
	}
	decided := map[bool]int{}
	for _, action := range []string{"encrypt", "sign"} {
		for _, who := range []string{"a4712", "a4713", "team1/a4711", "team3/a1", "team12/a1", "other"} {
			for _, key := range []string{"k4712", "k4711", "f1/k4711", "f3/anything", "f12/k1"} {
				r := at(action, key, app(who, nil))
				f, err := r.facts()
				if err != nil {
					t.Fatal(err)
				}
				got, want := s.Decide(r), s.decide(f, all)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s %s: %+v, of all %+v", who, action, key, got, want)
				}
				decided[got.Allowed]++
			}
		}
	}
	if decided[true] < 4 || decided[false] < 4 {
		t.Errorf("decided %v: too few of a kind", decided)
	}
}
