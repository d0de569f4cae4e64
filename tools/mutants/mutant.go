// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one deliberate fault, as a file of test/mutants describes it.
type mutant struct {
	name  string // area/nn-name, from the path
	why   string // which promise the fault breaks
	pkg   string // package whose tests must notice, such as ./internal/kdf
	tests string // -run pattern; "" is every test of the package
	ci    bool   // runs in every CI job, not only in the full run
	edits []edit
}

// edit replaces whole lines of one file.
type edit struct {
	file          string // slash-separated, from the root of the checkout
	find, replace string // whole lines, each with its line feed
}

func (m *mutant) area() string {
	area, _, _ := strings.Cut(m.name, "/")
	return area
}

const suffix = ".mutant"

// loadAll reads every mutant below dir, in the order of their names.
func loadAll(dir string) ([]*mutant, error) {
	var out []*mutant
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.ToSlash(rel), suffix)
		m, err := parse(name, string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// parse reads one file: "key: value" lines, then pairs of blocks, "--- find
// FILE" and "--- replace", of whole lines. Unknown and repeated keys are
// refused: a misspelt one would be a check that never runs.
func parse(name, text string) (*mutant, error) {
	m := &mutant{name: name}
	if strings.Count(name, "/") != 1 {
		return nil, errors.New("a mutant lies in the directory of its area")
	}
	seen := map[string]bool{}
	var block *string
	for line := range strings.Lines(text) {
		bare := strings.TrimSuffix(line, "\n")
		switch file, isFind := strings.CutPrefix(bare, "--- find "); {
		case isFind:
			if block != nil && block == &m.edits[len(m.edits)-1].find {
				return nil, errors.New("two find blocks without a replace block between them")
			}
			m.edits = append(m.edits, edit{file: file})
			block = &m.edits[len(m.edits)-1].find
		case bare == "--- replace":
			if block == nil || block != &m.edits[len(m.edits)-1].find {
				return nil, errors.New("a replace block without a find block before it")
			}
			block = &m.edits[len(m.edits)-1].replace
		case strings.HasPrefix(bare, "---"):
			return nil, fmt.Errorf("unknown block %q", bare)
		case block != nil:
			*block += bare + "\n"
		case strings.TrimSpace(bare) != "":
			if err := m.header(bare, seen); err != nil {
				return nil, err
			}
		}
	}
	return m, m.valid(block)
}

func (m *mutant) header(line string, seen map[string]bool) error {
	key, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !ok || value == "" {
		return fmt.Errorf("not a key and a value: %q", line)
	}
	if seen[key] {
		return fmt.Errorf("%s is said twice", key)
	}
	seen[key] = true
	switch key {
	case "why":
		m.why = value
	case "package":
		m.pkg = value
	case "test":
		m.tests = value
	case "ci":
		if value != "yes" {
			return fmt.Errorf("ci is yes or left out, not %q", value)
		}
		m.ci = true
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// valid checks what has to be there; last is the block the file ended in.
func (m *mutant) valid(last *string) error {
	switch {
	case m.why == "":
		return errors.New("why is missing")
	case !strings.HasPrefix(m.pkg, "./"):
		return errors.New("package is missing or does not begin with ./")
	case len(m.edits) == 0:
		return errors.New("there is no find block")
	case last == &m.edits[len(m.edits)-1].find:
		return errors.New("the last replace block is missing")
	}
	for _, e := range m.edits {
		if strings.TrimSpace(e.find) == "" {
			return errors.New("a find block is empty")
		}
		if e.find == e.replace {
			return errors.New("a replace block changes nothing")
		}
		if !filepath.IsLocal(e.file) || strings.HasSuffix(e.file, "_test.go") {
			return fmt.Errorf("%s is not a file of the product", e.file)
		}
	}
	return nil
}

// errStale says that a mutant no longer fits the code it was written for.
var errStale = errors.New("stale")

// apply returns the changed files by path. Each snippet has to stand in its
// file exactly once, at the beginning of a line, so that edits elsewhere in the
// file don't matter and edits of the place itself are noticed.
func (m *mutant) apply(root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, e := range m.edits {
		text, ok := out[e.file]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.file)); err != nil {
				return nil, fmt.Errorf("%w: %w", errStale, err)
			}
		}
		at := occurrences(text, []byte(e.find))
		if len(at) != 1 {
			return nil, fmt.Errorf("%w: the lines to find stand %d times in %s", errStale, len(at), e.file)
		}
		out[e.file] = slices.Concat(text[:at[0]], []byte(e.replace), text[at[0]+len(e.find):])
	}
	return out, nil
}

// occurrences finds snippet at the beginning of lines of text.
func occurrences(text, snippet []byte) []int {
	var at []int
	for from := 0; from < len(text); {
		if bytes.HasPrefix(text[from:], snippet) {
			at = append(at, from)
		}
		next := bytes.IndexByte(text[from:], '\n')
		if next < 0 {
			break
		}
		from += next + 1
	}
	return at
}
