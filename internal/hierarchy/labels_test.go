// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"testing"

	"claviger/internal/secret"
)

func TestFormerGeneration(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	v := w.add(h, 1, 1, AlgAES256)
	want, err := w.leaf(h, v.Ref())
	must(t, err)
	snapshot, err := h.snapshot()
	must(t, err)
	// The new root's server gets the same EEK in its own file.
	fresh := newMemFS()
	o := w.options(1, fresh)
	o.Custody, o.Generation, o.Former = custodyOf(8), 2, map[uint64]Custody{1: w.custody}
	must(t, Init(o, &First{*snapshot}))
	second, err := Open(t.Context(), o, w.logged)
	must(t, err)
	defer second.Close()
	got, err := w.leaf(second, v.Ref())
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("version of the former root generation changed")
	}
	if n, err := second.NewVersion(t.Context(), [16]byte{9}, 1, AlgAES256); err != nil || n.RootGeneration != 2 {
		t.Fatalf("new version: %+v, %v", n.RootGeneration, err)
	}
	v.RootGeneration = 3
	_, err = second.Leaf(t.Context(), v, PurposeData, nil)
	wantErr(t, err, ErrInvalid)
}

func TestSealsDiffer(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, f := range map[string]func(Custody, [32]byte, uint64) (*secret.Bytes, error){
		"domain": DomainSecret, "local": LocalSeal, "body": BodySeal, "slot": SlotSeal, "backup": BackupSeal, "ca": CASeed,
	} {
		for domain := range byte(2) {
			for generation := range uint64(2) {
				key, err := f(custodyOf(1), [32]byte{domain}, generation)
				must(t, err)
				k := [32]byte(key.Expose())
				if old, ok := seen[k]; ok {
					t.Fatalf("%s equals %s", name, old)
				}
				seen[k] = name
			}
		}
	}
}
