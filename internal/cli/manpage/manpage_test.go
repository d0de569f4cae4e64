// SPDX-License-Identifier: Apache-2.0

package manpage

import "testing"

func TestRoff(t *testing.T) {
	cases := map[string]string{
		"--json":     `\-\-json`,
		".TH evil":   `\&.TH evil`,
		"a\n'b\n.c":  "a\n\\&'b\n\\&.c",
		`back\slash`: `back\eslash`,
	}
	for in, out := range cases {
		if got := roff(in); got != out {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}
