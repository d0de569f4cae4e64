// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

func goodSwitch() Switch {
	to := EpochID{Number: 1, ID: [16]byte{9}}
	return Switch{
		To:       to,
		Segments: []SegmentSwitch{{Old: [16]byte{1}, New: [16]byte{1}}, {Old: [16]byte{2}, New: [16]byte{3}}, {Old: [16]byte{4}}, {Old: [16]byte{5}}},
		Grants:   []Grant{{Epoch: to, Server: [16]byte{1}}, {Epoch: to, Server: [16]byte{2}}},
	}
}

func TestSwitchCheck(t *testing.T) {
	good := goodSwitch()
	must(t, good.Check())
	for name, change := range map[string]func(*Switch){
		"same epoch":           func(s *Switch) { s.To.Number = 0 },
		"epoch left out":       func(s *Switch) { s.To.Number = 2 },
		"no id":                func(s *Switch) { s.To.ID = [16]byte{} },
		"id at epoch 0":        func(s *Switch) { s.From.ID = [16]byte{1} },
		"no id later":          func(s *Switch) { s.From.Number, s.To.Number = 1, 2 },
		"no grants":            func(s *Switch) { s.Grants = nil },
		"grant of other epoch": func(s *Switch) { s.Grants[0].Epoch.Number++ },
		"grant twice":          func(s *Switch) { s.Grants[1].Server = s.Grants[0].Server },
		"long grant":           func(s *Switch) { s.Grants[0].Sealed = make([]byte, maxGrant+1) },
		"many grants":          func(s *Switch) { s.Grants = slices.Repeat(s.Grants, maxServers) },
		"many segments":        func(s *Switch) { s.Segments = make([]SegmentSwitch, maxSegments+1) },
		"segment zero":         func(s *Switch) { s.Segments[0] = SegmentSwitch{New: [16]byte{8}} },
		"segment twice":        func(s *Switch) { s.Segments[1].Old = s.Segments[0].Old },
		"segment new twice":    func(s *Switch) { s.Segments[2].New = s.Segments[1].New },
		"segment new is old":   func(s *Switch) { s.Segments[2].New = s.Segments[0].Old },
		"segment old is new":   func(s *Switch) { s.Segments[2].Old = s.Segments[1].New },
	} {
		s := goodSwitch()
		change(&s)
		if s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSwitchApplyAndCovers(t *testing.T) {
	s := goodSwitch()
	dead := VersionRef{KeyID: [16]byte{7}, Number: 2}
	s.Destroyed = []VersionRef{dead}
	versions := []Version{
		{KeyID: [16]byte{7}, Number: 1, Segment: [16]byte{1}},
		{KeyID: [16]byte{7}, Number: 2, Segment: [16]byte{2}},
		{KeyID: [16]byte{7}, Number: 3, Segment: [16]byte{2}},
		{KeyID: [16]byte{7}, Number: 4, Segment: [16]byte{6}},
	}
	s.Apply(versions)
	want := []struct {
		segment byte
		epoch   uint64
	}{{1, 1}, {0, 0}, {3, 1}, {6, 0}}
	for i, w := range want {
		if versions[i].Segment != [16]byte{w.segment} || versions[i].ErasureEpoch != w.epoch {
			t.Errorf("version %d: segment %x, epoch %d", i+1, versions[i].Segment[0], versions[i].ErasureEpoch)
		}
	}
	for segment, covered := range map[byte]bool{1: true, 2: false, 3: false, 4: false, 6: false} {
		if s.Covers(Version{Segment: [16]byte{segment}}) != covered {
			t.Errorf("segment %d: covered %t", segment, !covered)
		}
	}
}

// TestSwitchIsEncodable: the log keeps switches, versions and receipts as
// deterministic CBOR.
func TestSwitchIsEncodable(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	a := w.add(h, 1, 1, AlgAES256)
	w.add(h, 1, 2, AlgAES256)
	sw, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
	must(t, err)
	var back Switch
	must(t, wire.Unmarshal(wire.Marshal(*sw), &back, 1<<20))
	r, err := h.Erase(t.Context(), &back)
	must(t, err)
	var receipt Receipt
	must(t, wire.Unmarshal(wire.Marshal(r), &receipt, 1<<20))
	var v Version
	must(t, wire.Unmarshal(wire.Marshal(a), &v, 1<<20))
	if v != a || receipt.Epoch != r.Epoch || !bytes.Equal(receipt.NextPublicKey, r.NextPublicKey) {
		t.Fatal("changed on the way")
	}
}

// TestPlanRefuses gives plans that would destroy the wrong thing or lose keys.
func TestPlanRefuses(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	other, err := Generate()
	must(t, err)
	for name, change := range map[string]func(*ErasurePlan){
		"nothing to destroy":     func(p *ErasurePlan) { p.Destroyed = nil },
		"destroyed twice":        func(p *ErasurePlan) { p.Destroyed = append(p.Destroyed, a.Ref()) },
		"destroyed is unknown":   func(p *ErasurePlan) { p.Destroyed[0].Number = 9 },
		"version twice":          func(p *ErasurePlan) { p.Versions = append(p.Versions, b) },
		"version of other epoch": func(p *ErasurePlan) { p.Versions[0].ErasureEpoch++ },
		"version erased already": func(p *ErasurePlan) { p.Versions[0].Segment = [16]byte{} },
		"version without a slot": func(p *ErasurePlan) {
			p.Versions = append(p.Versions, Version{KeyID: [16]byte{3}, Number: 1, Algorithm: AlgAES256, RootGeneration: 1, Segment: b.Segment})
		},
		"nobody live": func(p *ErasurePlan) { p.Live = nil },
		"not itself":  func(p *ErasurePlan) { p.Live[0].Server[0]++ },
		"not its key": func(p *ErasurePlan) { p.Live[0].Public = other.Public() },
		"server without receipt": func(p *ErasurePlan) {
			p.Live = append(p.Live, ServerEpochKey{Server: [16]byte{5}, Epoch: 1, Public: other.Public()})
		},
		"server with a bad key": func(p *ErasurePlan) { p.Live = append(p.Live, ServerEpochKey{Server: [16]byte{5}, Public: []byte{1}}) },
		"server twice":          func(p *ErasurePlan) { p.Live = append(p.Live, p.Live[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			in := w.plan(a.Ref())
			change(&in)
			if _, err := h.PlanErasure(t.Context(), in); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	for _, v := range []Version{a, b} {
		_, err := w.leaf(h, v.Ref())
		must(t, err)
	}
}

// TestSplitGrant is a planner that gives one server another EEK than the rest.
func TestSplitGrant(t *testing.T) {
	w := newWorld(t)
	dirs := []*memFS{newMemFS(), newMemFS()}
	h := w.first(1, dirs[0])
	two := w.join(2, dirs[1], h)
	a := w.add(h, 1, 1, AlgAES256)
	sw, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
	must(t, err)
	for i := range sw.Grants {
		if sw.Grants[i].Server == [16]byte{2} {
			sw.Grants[i], err = h.makeGrant(sw.To, secret.Random(keySize), w.live[[16]byte{2}])
			must(t, err)
		}
	}
	_, err = two.Erase(t.Context(), sw)
	wantErr(t, err, ErrInvalid)
	_, err = h.Erase(t.Context(), sw)
	must(t, err)
}

// TestEraseKeepsWhatTheStoreLost: if a segment's new key is gone, nothing is
// erased.
func TestEraseKeepsWhatTheStoreLost(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	sw, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
	must(t, err)
	w.slots.change = func(key string, value []byte) ([]byte, error) {
		if key == segmentKeySlot(sw.Segments[0].New, sw.To) {
			return nil, store.ErrNotFound
		}
		return value, nil
	}
	before := bytes.Clone(dir.names["epoch-0.key"].data)
	_, err = h.Erase(t.Context(), sw)
	wantErr(t, err, ErrIncomplete)
	if !bytes.Equal(before, dir.names["epoch-0.key"].data) || len(dir.names) != 1 {
		t.Fatal("files were touched")
	}
	_, err = w.leaf(h, b.Ref())
	must(t, err)
	w.slots.change = nil
	w.record(sw)
	_, err = h.Erase(t.Context(), sw)
	must(t, err)
	r, err := h.Erase(t.Context(), sw) // repeated
	must(t, err)
	if r.Epoch != sw.To {
		t.Fatal("receipt")
	}
	_, err = w.leaf(h, b.Ref())
	must(t, err)
	stale := *sw
	stale.From, stale.To = EpochID{Number: 4, ID: [16]byte{1}}, EpochID{Number: 5, ID: [16]byte{2}}
	stale.Grants = slices.Clone(sw.Grants)
	for i := range stale.Grants {
		stale.Grants[i].Epoch = stale.To
	}
	_, err = h.Erase(t.Context(), &stale)
	wantErr(t, err, ErrInvalid)
}

// TestReadBackIsChecked lets the store keep something else than it was given.
func TestReadBackIsChecked(t *testing.T) {
	for _, part := range []string{"/key/", "/item/"} {
		w := newWorld(t)
		h := w.first(1, newMemFS())
		a := w.add(h, 1, 1, AlgAES256)
		w.add(h, 1, 2, AlgAES256)
		w.slots.change = func(key string, value []byte) ([]byte, error) {
			if strings.Contains(key, part) && !strings.Contains(key, segmentSlots(a.Segment)) {
				return slices.Concat(value[:len(value)-1], []byte{value[len(value)-1] ^ 1}), nil
			}
			return value, nil
		}
		_, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
		wantErr(t, err, errSealed)
	}
}

// slotCount counts slots under a prefix.
func (w *world) slotCount(prefix string) (n int) {
	for _, err := range w.slots.List(w.t.Context(), prefix) {
		must(w.t, err)
		n++
	}
	return n
}

// TestSweep leaves exactly what is in use, lost plans included.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	h.open.count = SegmentItems
	c := w.add(h, 2, 1, AlgAES256)
	for range 3 {
		_, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
		must(t, err)
	}
	sw := w.destroy(a.Ref(), h)
	if err := h.Sweep(t.Context(), &Switch{From: sw.To, To: EpochID{Number: 2, ID: [16]byte{1}}, Grants: []Grant{{Epoch: EpochID{Number: 2, ID: [16]byte{1}}}}}); err == nil {
		t.Fatal("swept for another epoch")
	}
	// A newer plan is being made, and a liar marks a segment in use as lost.
	newer, err := h.PlanErasure(t.Context(), w.plan(b.Ref()))
	must(t, err)
	d := w.add(h, 3, 1, AlgAES256)
	must(t, w.slots.Put(t.Context(), planPrefix+"ff", 0, slices.Concat(u64(0), d.Segment[:], c.Segment[:], []byte{1})))
	must(t, w.slots.Put(t.Context(), planPrefix+"fe", 0, []byte{1}))
	must(t, h.Sweep(t.Context(), sw))
	must(t, h.Sweep(t.Context(), sw))
	// Keys: b's, c's, d's, and the newer plan's two. Items: b, c, d, b again in
	// no newer segment since b is destroyed there.
	if n := w.slotCount(segmentPrefix); n != 3+1+3 {
		for e := range w.slots.List(t.Context(), segmentPrefix) {
			t.Log(e.Key)
		}
		t.Fatalf("%d slots left", n)
	}
	if n := w.slotCount(planPrefix); n != 2 { // the newer plan's, and one that says nothing
		t.Fatalf("%d marks left", n)
	}
	for _, ref := range []VersionRef{b.Ref(), c.Ref(), d.Ref()} {
		h.cache.clear()
		_, err := w.leaf(h, ref)
		must(t, err)
	}
	if newer.Covers(w.versions[d.Ref()]) {
		t.Fatal("a plan covers a segment that it doesn't know")
	}
}

// TestTwoPlanners: two servers plan at once, one switch enters the log.
func TestTwoPlanners(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	two := w.join(2, newMemFS(), h)
	a, b := w.add(h, 1, 1, AlgAES256), w.add(two, 1, 2, AlgAES256)
	lost, err := two.PlanErasure(t.Context(), w.plan(b.Ref()))
	must(t, err)
	sw := w.destroy(a.Ref(), h, two)
	for _, s := range []*Hierarchy{h, two} {
		_, err := s.Erase(t.Context(), lost)
		wantErr(t, err, ErrInvalid)
		must(t, s.Sweep(t.Context(), sw))
		_, err = w.leaf(s, b.Ref())
		must(t, err)
		_, err = w.leaf(s, a.Ref())
		wantErr(t, err, ErrErased)
	}
	// A server behind the log says so.
	v := w.versions[b.Ref()]
	v.ErasureEpoch++
	two.cache.clear()
	_, err = two.Leaf(t.Context(), v, PurposeData, nil)
	wantErr(t, err, ErrSwitched)
}
