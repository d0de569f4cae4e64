// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
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
