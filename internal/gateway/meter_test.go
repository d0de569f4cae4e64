// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsAreDocumented: docs/api.md names each counter of this package, with
// its labels.
func TestMetricsAreDocumented(t *testing.T) {
	r := prometheus.NewRegistry()
	newMeter(r).count("xks", "encrypt", Failures, time.Millisecond)
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil || len(families) != 2 {
		t.Fatalf("%d counters, %v", len(families), err)
	}
	for _, f := range families {
		_, row, found := strings.Cut(string(doc), "\n| `"+f.GetName()+"` | ")
		if !found {
			t.Errorf("%s is not in docs/api.md", f.GetName())
			continue
		}
		labels, _, _ := strings.Cut(row, " | ")
		for _, l := range f.GetMetric()[0].GetLabel() {
			if !strings.Contains(labels, "`"+l.GetName()+"`") {
				t.Errorf("%s: docs/api.md says nothing of its label %s", f.GetName(), l.GetName())
			}
		}
	}
}
