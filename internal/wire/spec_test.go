// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"os"
	"strings"
	"testing"

	"claviger/internal/wire"
)

// grammar reads section 4 of the specification: the number of elements of each
// message, by its name there.
func grammar(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("../../docs/spec/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## 4. Messages\n")
	section, _, _ = strings.Cut(section, "\n## 5.")
	out := map[string]int{}
	for _, rule := range strings.Split(section, "\n    ") {
		name, _, ok := strings.Cut(rule, " = [")
		if !ok || strings.Contains(name, " ") {
			continue
		}
		_, body, _ := strings.Cut(section, "    "+name+" = [")
		depth, n := 1, 1
		for _, c := range body {
			switch c {
			case '[', '(':
				depth++
			case ']', ')':
				depth--
			case ',':
				if depth == 1 {
					n++
				}
			}
			if depth == 0 {
				break
			}
		}
		out[name] = n
	}
	return out
}

// TestSpecification holds the grammar in docs/spec/wire.md to the code: each
// message with its type string and its number of elements.
func TestSpecification(t *testing.T) {
	text, err := os.ReadFile("../../docs/spec/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := grammar(t)
	names := map[string]string{
		"body": "body", "record": "record", "opened record": "opened-record", "request": "request", "grant": "grant", "release": "release",
		"descriptor": "descriptor", "statement": "statement", "introduction": "introduction", "enrolment": "enroll", "renewal": "renew",
		"enrolled": "enrolled", "admin request": "admin-request", "admin session": "admin-session", "invite": "invite", "sealed": "",
		"mailbox request": "mailbox-request", "acknowledgement": "ack", "delivery": "delivery", "trouble": "trouble",
	}
	for _, s := range samples() {
		name, known := names[s.name]
		if !known {
			t.Errorf("%s is not compared", s.name)
		}
		if s.typ != "" && !strings.Contains(string(text), `"`+s.typ+`"`) {
			t.Errorf("%s: the type string %q is not in the specification", s.name, s.typ)
		}
		if have := int(wire.Marshal(s.value)[0] & 0x1f); name != "" && rules[name] != have {
			t.Errorf("%s: %d elements, specified are %d", s.name, have, rules[name])
		}
	}
}
