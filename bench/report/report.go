// SPDX-License-Identifier: Apache-2.0

// Package report turns measurements into the tables of a page: medians of
// interleaved runs, ratios between them, Markdown, and a plot.
//
// Figures of a shared machine drift within minutes. So every case is measured
// once in each round, rounds follow one another, and only medians of the same
// rounds are compared.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Rounds holds each case's results, by its name.
type Rounds map[string][]float64

// Add notes one more result of a case.
func (r Rounds) Add(name string, v float64) { r[name] = append(r[name], v) }

// Median returns the middle result of a case, of an even number the mean of the
// two in the middle; 0 for a case without any.
func (r Rounds) Median(name string) float64 {
	v := slices.Sorted(slices.Values(r[name]))
	switch n := len(v); {
	case n == 0:
		return 0
	case n%2 == 1:
		return v[n/2]
	default:
		return (v[n/2-1] + v[n/2]) / 2
	}
}

// Ratio returns how often the median of base goes into that of name, 0 if one of
// them was not measured.
func (r Rounds) Ratio(name, base string) float64 {
	if b := r.Median(base); b != 0 {
		return r.Median(name) / b
	}
	return 0
}

// Table is a table of Markdown; the first column holds text, the rest figures.
type Table struct {
	Head []string
	Rows [][]string
}

// Row appends a row.
func (t *Table) Row(cells ...string) { t.Rows = append(t.Rows, cells) }

// String returns the table, with a line feed at its end.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(t.Head, " | "), strings.Repeat("--:|", len(t.Head)-1))
	for _, row := range t.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

// Splice replaces what stands in a page between the lines "<!-- bench:NAME -->"
// and "<!-- end -->". A page without them is an error.
func Splice(page []byte, name, text string) ([]byte, error) {
	open, closing := []byte("<!-- bench:"+name+" -->\n"), []byte("<!-- end -->\n")
	before, rest, ok := bytes.Cut(page, open)
	if !ok {
		return nil, fmt.Errorf("the page has no place for %q", name)
	}
	_, after, ok := bytes.Cut(rest, closing)
	if !ok {
		return nil, fmt.Errorf("the place for %q has no end", name)
	}
	return slices.Concat(before, open, []byte(text), closing, after), nil
}

// Write splices texts, by their places' names, into a file.
func Write(file string, texts map[string]string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all error
	for name, text := range texts {
		next, err := Splice(page, name, text)
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		page = next
	}
	if all != nil {
		return all
	}
	return os.WriteFile(file, page, 0o644)
}

// Number writes a figure with about three digits; 0, which stands for one that
// was not measured, is a dash.
func Number(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	whole := fmt.Sprintf("%.0f", v)
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole
}
