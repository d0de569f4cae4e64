// SPDX-License-Identifier: Apache-2.0

package ring_test

import (
	"testing"

	"claviger/internal/relay/ring"
)

// TestRing: the newest are kept, the oldest of them first.
func TestRing(t *testing.T) {
	r := ring.New(3)
	for size := 1; size <= 5; size++ {
		r.Add(ring.Passed{Size: size})
	}
	all := r.All()
	if len(all) != 3 || all[0].Size != 3 || all[2].Size != 5 {
		t.Errorf("kept %+v", all)
	}
}
