// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestMedianAndRatio(t *testing.T) {
	r := Rounds{}
	for _, v := range []float64{9, 1, 5} {
		r.Add("odd", v)
	}
	for _, v := range []float64{4, 1, 100, 2} {
		r.Add("even", v)
	}
	if got := r.Median("odd"); got != 5 {
		t.Errorf("median %v, want 5", got)
	}
	if got := r.Median("even"); got != 3 {
		t.Errorf("median %v, want 3", got)
	}
	if got := r.Ratio("even", "odd"); got != 0.6 {
		t.Errorf("ratio %v, want 0.6", got)
	}
	if got := r.Ratio("odd", "absent"); got != 0 {
		t.Errorf("ratio to nothing %v", got)
	}
}

func TestTable(t *testing.T) {
	table := Table{Head: []string{"what", "figure"}}
	table.Row("one", Number(1234567.2))
	table.Row("none", Number(0))
	if got, want := table.String(), "| what | figure |\n|---|--:|\n| one | 1,234,567 |\n| none | – |\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSplice(t *testing.T) {
	page := "a\n<!-- bench:x -->\nold\n<!-- end -->\nb\n<!-- bench:y -->\n<!-- end -->\n"
	got, err := Splice([]byte(page), "x", "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(page, "old", "new", 1); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, bad := range []string{"", "<!-- bench:x -->\nno end"} {
		if _, err := Splice([]byte(bad), "x", "new"); err == nil {
			t.Errorf("spliced into %q", bad)
		}
	}
}

func TestSVGIsXML(t *testing.T) {
	text := SVG([]Plot{{Title: "a < b & c", Unit: "MB/s", Bars: []Bar{{"<one>", 3, true}, {"two", 0, false}}}, {Title: "empty"}})
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}
