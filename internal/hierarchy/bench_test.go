// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"testing"

	"claviger/internal/store"
)

func benchWorld(b *testing.B) (*Hierarchy, Version) {
	b.Helper()
	o := Options{Custody: custodyOf(7), Domain: [32]byte{1}, Generation: 1, Server: [16]byte{1}, Slots: store.NewMem(), FS: newMemFS()}
	keys, err := Generate()
	if err != nil {
		b.Fatal(err)
	}
	if err := Init(o, keys); err != nil {
		b.Fatal(err)
	}
	h, err := Open(b.Context(), o, Logged{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Close)
	v, err := h.NewVersion(b.Context(), [16]byte{1}, 1, AlgAES256)
	if err != nil {
		b.Fatal(err)
	}
	return h, v
}

func benchLeaf(b *testing.B, forget func(*Hierarchy)) {
	h, v := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		forget(h)
		leaf, err := h.Leaf(b.Context(), v, PurposeData, []byte("partition"))
		if err != nil {
			b.Fatal(err)
		}
		leaf.Wipe()
	}
}

func BenchmarkLeafCached(b *testing.B) { benchLeaf(b, func(*Hierarchy) {}) }

func BenchmarkLeafCold(b *testing.B) { benchLeaf(b, func(h *Hierarchy) { h.cache.clear() }) }

func BenchmarkNewVersion(b *testing.B) {
	h, _ := benchWorld(b)
	var number uint64
	for b.Loop() {
		number++
		if _, err := h.NewVersion(b.Context(), [16]byte{2}, number, AlgAES256); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkErasure destroys one of 2,048 versions.
func BenchmarkErasure(b *testing.B) {
	h, _ := benchWorld(b)
	in := ErasurePlan{Live: []ServerEpochKey{{Server: [16]byte{1}, Public: h.Receipt().NextPublicKey}}}
	for n := range uint64(2 * SegmentItems) {
		v, err := h.NewVersion(b.Context(), [16]byte{2}, n+1, AlgAES256)
		if err != nil {
			b.Fatal(err)
		}
		in.Versions = append(in.Versions, v)
	}
	in.Destroyed = []VersionRef{in.Versions[0].Ref()}
	for b.Loop() {
		if _, err := h.PlanErasure(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
