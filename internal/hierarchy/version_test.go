// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// TestLeavesDiffer: every input of the derivation matters.
func TestLeavesDiffer(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	versions := []Version{
		w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256), w.add(h, 2, 1, AlgAES256),
	}
	seen := map[string]string{}
	for _, v := range versions {
		for _, purpose := range []string{PurposeData, PurposeWrap, PurposeSecret} {
			for _, partition := range []string{"", "a", "b", "\x00", strings.Repeat("x", MaxPartition)} {
				name := fmt.Sprintf("%x/%d/%s/%q", v.KeyID[0], v.Number, purpose, partition)
				for range 2 { // cold and cached
					leaf, err := h.Leaf(t.Context(), v, purpose, []byte(partition))
					must(t, err)
					k := string(leaf.Expose())
					if old, ok := seen[k]; ok && old != name {
						t.Fatalf("%s equals %s", name, old)
					}
					seen[k] = name
				}
			}
		}
	}
	if len(seen) != 45 {
		t.Fatalf("%d different leaves", len(seen))
	}
}

func TestUseIsChecked(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	v := w.add(h, 1, 1, AlgAES256)
	for name, leaf := range map[string]func() error{
		"purpose of another algorithm": func() error { _, err := h.Leaf(t.Context(), v, PurposeSign, nil); return err },
		"unknown purpose":              func() error { _, err := h.Leaf(t.Context(), v, "seal", nil); return err },
		"long partition": func() error {
			_, err := h.Leaf(t.Context(), v, PurposeData, make([]byte, MaxPartition+1))
			return err
		},
		"version 0":         func() error { _, err := h.NewVersion(t.Context(), [16]byte{1}, 0, AlgAES256); return err },
		"unknown algorithm": func() error { _, err := h.NewVersion(t.Context(), [16]byte{1}, 9, "des"); return err },
		"material of a derived version": func() error {
			_, err := h.Material(t.Context(), v)
			return err
		},
		"mac with aes256":  func() error { _, err := h.MAC(t.Context(), v, nil, nil); return err },
		"sign with aes256": func() error { _, err := h.Sign(t.Context(), v, Use{}, nil); return err },
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, leaf(), ErrInvalid) })
	}
}

// TestHostileSlots lets the store answer with what belongs elsewhere, with
// changed bytes and with nothing.
func TestHostileSlots(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	h.open.count = SegmentItems
	c := w.add(h, 2, 1, AlgAES256)
	get := func(key string) []byte {
		value, _, err := w.slots.Slots.Get(t.Context(), key)
		must(t, err)
		return value
	}
	keySlot := func(v Version) string { return segmentKeySlot(v.Segment, EpochID{}) }
	item := func(v Version) string { return itemSlot(v.Segment, &v) }
	for _, tc := range []struct {
		name, key string
		value     []byte
		want      error
	}{
		{"secret of another version", item(a), get(item(b)), errSealed},
		{"secret of another segment", item(a), get(item(c)), errSealed},
		{"key of another segment", keySlot(a), get(keySlot(c)), errSealed},
		{"key as secret", item(a), get(keySlot(a)), errSealed},
		{"secret withheld", item(a), nil, ErrNotFound},
		{"segment key withheld", keySlot(a), nil, ErrNotFound},
		{"empty", item(a), []byte{}, errSealed},
		{"cut short", item(a), get(item(a))[:100], errSealed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fresh := w.open(1, dir)
			w.slots.change = func(key string, value []byte) ([]byte, error) {
				if key != tc.key {
					return value, nil
				}
				if tc.value == nil {
					return nil, store.ErrNotFound
				}
				return tc.value, nil
			}
			defer func() { w.slots.change = nil }()
			_, err := w.leaf(fresh, a.Ref())
			wantErr(t, err, tc.want)
			if _, err := fresh.PlanErasure(t.Context(), w.plan(c.Ref())); err == nil {
				t.Fatal("a plan went on over an unreadable survivor")
			}
		})
	}
}

// TestCommitmentIsChecked gives the wrong commitment and the wrong names.
func TestCommitmentIsChecked(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	good := w.add(h, 1, 1, AlgEd25519)
	_, err := h.Leaf(t.Context(), good, PurposeSign, nil) // now it is cached
	must(t, err)
	for name, change := range map[string]func(*Version){
		"algorithm": func(v *Version) { v.Algorithm = AlgP256 },
		"vc":        func(v *Version) { v.VC[31] ^= 1 }, // not in the slot's name
	} {
		v := good
		change(&v)
		_, err := h.Leaf(t.Context(), v, PurposeSign, nil)
		if !errors.Is(err, ErrCommitment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Version){
		"key":    func(v *Version) { v.KeyID[0]++ },
		"number": func(v *Version) { v.Number++ },
	} {
		v := good
		change(&v)
		_, err := h.Leaf(t.Context(), v, PurposeSign, nil)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An item sealed in the right place, by whoever holds the keys, but of
	// another secret.
	s, err := h.snapshot()
	must(t, err)
	key, err := h.segmentKey(t.Context(), s, good.Segment)
	must(t, err)
	w.slots.change = func(k string, value []byte) ([]byte, error) {
		if k == itemSlot(good.Segment, &good) {
			return seal(key, h.itemPlace(good.Segment, &good), make([]byte, keySize)), nil
		}
		return value, nil
	}
	h.cache.clear()
	_, err = h.Leaf(t.Context(), good, PurposeSign, nil)
	wantErr(t, err, ErrCommitment)
	_, err = h.PlanErasure(t.Context(), w.plan(good.Ref()))
	must(t, err) // the victim need not be readable
	other := w.add(h, 1, 2, AlgAES256)
	_, err = h.PlanErasure(t.Context(), w.plan(other.Ref()))
	wantErr(t, err, ErrCommitment)
}

func TestSegmentsFill(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	segments := map[[16]byte]int{}
	add := func(h *Hierarchy, from, n uint64) {
		for i := range n {
			v := w.add(h, 1, from+i, AlgAES256)
			segments[v.Segment]++
		}
	}
	add(h, 1, 1000)
	again := w.open(1, dir) // goes on with the same segment
	add(again, 1001, 100)
	if len(segments) != 2 {
		t.Fatalf("%d segments", len(segments))
	}
	for _, n := range segments {
		if n > SegmentItems {
			t.Fatalf("%d items in a segment", n)
		}
	}
	// Only the hit segment is replaced.
	sw := w.destroy(VersionRef{KeyID: [16]byte{1}, Number: 3}, again)
	replaced := 0
	for _, s := range sw.Segments {
		if s.New != s.Old {
			replaced++
		}
	}
	if len(sw.Segments) != 2 || replaced != 1 {
		t.Fatalf("%d segments, %d replaced", len(sw.Segments), replaced)
	}
	must(t, again.Sweep(t.Context(), sw))
	for ref := range w.versions {
		_, err := w.leaf(again, ref)
		if ref.Number == 3 {
			wantErr(t, err, ErrErased)
		} else if err != nil {
			t.Fatalf("version %d: %v", ref.Number, err)
		}
	}
	// A kept segment gets nothing more, also after a restart.
	add(w.open(1, dir), 2000, 1)
	v := w.versions[VersionRef{KeyID: [16]byte{1}, Number: 2000}]
	for _, s := range sw.Segments {
		if v.Segment == s.New {
			t.Fatal("version was added to a segment that an older key opens")
		}
	}
}

// TestOpenMarkerIsOnlyAHint gives markers that lead nowhere.
func TestOpenMarkerIsOnlyAHint(t *testing.T) {
	for _, marker := range [][]byte{{1}, make([]byte, 16), bytes.Repeat([]byte{1}, 17)} {
		w := newWorld(t)
		dir := newMemFS()
		h := w.first(1, dir)
		must(t, w.slots.Put(t.Context(), h.openSlot(), 0, marker))
		v := w.add(h, 1, 1, AlgAES256)
		_, err := w.leaf(w.open(1, dir), v.Ref())
		must(t, err)
	}
}

// TestRetryAfterLostAnswer makes the same version twice, as after a void entry:
// the second attempt doesn't touch the first.
func TestRetryAfterLostAnswer(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	first := w.add(h, 1, 1, AlgAES256)
	second := w.add(h, 1, 1, AlgAES256)
	if first.VC == second.VC {
		t.Fatal("same secret twice")
	}
	for _, v := range []Version{first, second} {
		_, err := h.Leaf(t.Context(), v, PurposeData, nil)
		must(t, err)
	}
}

// TestConcurrentUse runs readers and writers through a switch.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	victim, mate := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for id := range byte(4) {
		wg.Go(func() {
			for number := uint64(1); ; number++ {
				select {
				case <-stop:
					return
				default:
				}
				leaf, err := h.Leaf(t.Context(), mate, PurposeData, nil)
				if err != nil && !errors.Is(err, ErrErased) {
					t.Errorf("leaf: %v", err)
				}
				wipe(leaf)
				if _, err := h.NewVersion(t.Context(), [16]byte{id + 10}, number, AlgAES256); err != nil && !errors.Is(err, ErrSwitched) {
					t.Errorf("new version: %v", err)
				}
			}
		})
	}
	sw, err := h.PlanErasure(t.Context(), w.plan(victim.Ref()))
	must(t, err)
	w.record(sw)
	_, err = h.Erase(t.Context(), sw)
	must(t, err)
	close(stop)
	wg.Wait()
	_, err = w.leaf(h, mate.Ref())
	must(t, err)
	_, err = h.Leaf(t.Context(), victim, PurposeData, nil)
	wantErr(t, err, ErrErased)
}

// TestSlowReaderDoesNotRevive lets a reader that began before an erasure end
// after it: its key must not enter the cache.
func TestSlowReaderDoesNotRevive(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	victim := w.add(h, 1, 1, AlgAES256)
	entered, leave := make(chan struct{}), make(chan struct{})
	name := itemSlot(victim.Segment, &victim)
	var once sync.Once
	w.slots.change = func(key string, value []byte) ([]byte, error) {
		if key == name {
			once.Do(func() { close(entered); <-leave })
		}
		return value, nil
	}
	done := make(chan error)
	go func() {
		_, err := h.Leaf(t.Context(), victim, PurposeData, nil)
		done <- err
	}()
	<-entered
	w.destroy(victim.Ref(), h)
	close(leave)
	must(t, <-done) // it had begun before
	_, err := h.Leaf(t.Context(), victim, PurposeData, nil)
	wantErr(t, err, ErrErased)
	if h.cache.order.Len() != 0 {
		t.Fatal("a key of the old epoch is in the cache")
	}
}

func TestCacheBound(t *testing.T) {
	const bound = 10 * (keySize + entryCost)
	c := newCache(bound)
	keys := make([]*secret.Bytes, 30)
	for i := range keys {
		keys[i] = secret.Random(keySize)
		c.put([32]byte{byte(i)}, keys[i])
		if c.get([32]byte{0}) == nil && i < 5 {
			t.Fatal("used entry left")
		}
		if c.size > bound || len(c.entries) != c.order.Len() {
			t.Fatalf("size %d, %d entries", c.size, len(c.entries))
		}
	}
	if c.order.Len() != 10 {
		t.Fatalf("%d entries", c.order.Len())
	}
	if got := c.get([32]byte{29}); got == nil || !got.Equal(keys[29]) {
		t.Fatal("newest entry is missing")
	}
	if c.get([32]byte{0}) == nil {
		t.Fatal("most used entry is missing")
	}
	var held *secret.Bytes
	for el := c.order.Front(); el != nil; el = el.Next() {
		held = el.Value.(*entry).key
	}
	c.clear()
	if c.size != 0 || len(c.entries) != 0 {
		t.Fatal("not empty")
	}
	defer func() {
		if recover() == nil {
			t.Fatal("evicted key is still readable")
		}
	}()
	held.Expose()
}
