// SPDX-License-Identifier: Apache-2.0

package modeltest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// models reads the models, by the names of their files.
func models(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.pv", "*.pvl", "*.pml"} {
		files, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(name)] = string(text)
		}
	}
	if len(out) < 5 {
		t.Fatalf("only %d models were found", len(out))
	}
	return out
}

var (
	variantLine  = regexp.MustCompile(`(?m)^[(/]\*! (\S+) += *([^|]*?) *\| *([^|]*?) *\| (.+) \*[)/]$`)
	propertyLine = regexp.MustCompile(`(?m)^[(/]\*\? (\S+)((?: \S+)*) \*[)/]$`)
	takenLine    = regexp.MustCompile(`(?m)[(/]\*- ([a-z-]+) \*[)/]$`)
	putLine      = regexp.MustCompile(`(?m)^ *[(/]\*\+ ([a-z-]+): .*\*[)/]$`)
	anyMark      = regexp.MustCompile(`[(/]\*[-+?!] `)
)

// choices are tags that choose among queries and change no line.
var choices = []string{"brief", "small"}

// TestMarks holds each model's marks together: what run.sh would pass over in
// silence, a tag that no line bears or a mark that isn't read, is an error.
func TestMarks(t *testing.T) {
	for name, text := range models(t) {
		if strings.HasSuffix(name, ".pvl") {
			continue
		}
		var read int
		tags, properties, used, broken := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, m := range slices.Concat(takenLine.FindAllStringSubmatch(text, -1), putLine.FindAllStringSubmatch(text, -1)) {
			tags[m[1]] = true
			read++
		}
		for _, m := range propertyLine.FindAllStringSubmatch(text, -1) {
			properties[m[1]] = true
			read++
		}
		variants := variantLine.FindAllStringSubmatch(text, -1)
		read += len(variants)
		if marks := len(anyMark.FindAllString(text, -1)); marks != read {
			t.Errorf("%s has %d marks, of which %d are read", name, marks, read)
		}
		seen := map[string]bool{}
		for _, v := range variants {
			if seen[v[1]] {
				t.Errorf("%s has the variant %s twice", name, v[1])
			}
			seen[v[1]] = true
			for _, tag := range strings.Fields(v[2]) {
				used[tag] = true
				if !tags[tag] && !slices.Contains(choices, tag) {
					t.Errorf("%s, %s: no line bears the tag %s", name, v[1], tag)
				}
			}
			for _, p := range strings.Fields(strings.TrimPrefix(v[3], "-")) {
				broken[p] = true
				if !properties[p] {
					t.Errorf("%s, %s: there is no property %s", name, v[1], p)
				}
			}
		}
		if !seen["sound"] {
			t.Errorf("%s has no variant that is called sound", name)
		}
		for tag := range tags {
			if !used[tag] {
				t.Errorf("%s: no variant uses the tag %s", name, tag)
			}
		}
		for p := range properties {
			if !broken[p] && p != "reached" {
				t.Errorf("%s: no variant breaks the property %s, so nothing shows that it can be broken", name, p)
			}
		}
	}
}
