// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"testing"
)

func TestDestroy(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	before, err := w.leaf(h, b.Ref())
	must(t, err)
	sw := w.destroy(a.Ref(), h)
	_, err = w.leaf(h, a.Ref())
	wantErr(t, err, ErrErased)
	// Also for a caller who missed the switch.
	_, err = h.Leaf(t.Context(), a, PurposeData, nil)
	wantErr(t, err, ErrErased)
	after, err := w.leaf(h, b.Ref())
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Fatal("survivor changed")
	}
	must(t, h.Sweep(t.Context(), sw))
	c := w.add(h, 1, 3, AlgAES256)
	again := w.open(1, dir)
	for _, v := range []Version{b, c} {
		_, err := w.leaf(again, v.Ref())
		must(t, err)
	}
	w.destroy(b.Ref(), h)
	_, err = w.leaf(h, c.Ref())
	must(t, err)
}
