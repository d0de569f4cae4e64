// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestNewLeafKey(t *testing.T) {
	good := testRef("p")
	cases := map[string]struct {
		ref  Ref
		size int
	}{
		"short leaf":     {good, 31},
		"long leaf":      {good, 33},
		"no domain":      {Ref{Version: 1}, 32},
		"no version":     {Ref{Domain: good.Domain}, 32},
		"long partition": {Ref{Domain: good.Domain, Version: 1, Partition: make([]byte, 257)}, 32},
	}
	for name, c := range cases {
		leaf := random(c.size)
		if _, err := NewLeafKey(c.ref, leaf); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if !bytes.Equal(leaf, make([]byte, c.size)) {
			t.Errorf("%s: the leaf wasn't wiped", name)
		}
	}
	leaf := random(32)
	k := must[*LeafKey](t)(NewLeafKey(good, leaf))
	if !bytes.Equal(leaf, make([]byte, 32)) {
		t.Error("the leaf wasn't wiped")
	}
	good.Partition[0] ^= 1
	if string(k.Ref().Partition) != "p" {
		t.Error("the LeafKey keeps the caller's partition slice")
	}
	if _, err := k.Wrap(t.Context(), make([]byte, 31)); err == nil {
		t.Error("a data key of 31 bytes was wrapped")
	}
	k.Wipe()
	defer func() {
		if recover() == nil {
			t.Error("used after Wipe")
		}
	}()
	_, _ = k.Wrap(t.Context(), make([]byte, 32)) // has to panic
}

// TestSlotBinding gives a slot to keys that differ in one part of the Ref, with
// the same leaf: either the ids don't match, or the commitment doesn't.
func TestSlotBinding(t *testing.T) {
	r := testRef("p")
	leaf := random(32)
	slot := must[Slot](t)(leafKeyOf(t, r, leaf).Wrap(t.Context(), random(32)))
	hidden := r
	hidden.HidePartition = true
	covert := must[Slot](t)(leafKeyOf(t, hidden, leaf).Wrap(t.Context(), random(32)))
	change := func(f func(r *Ref)) Ref {
		c := r.clone()
		f(&c)
		return c
	}
	domain := change(func(r *Ref) { r.Domain[0] ^= 1 })
	key := change(func(r *Ref) { r.KeyID[0] ^= 1 })
	version := change(func(r *Ref) { r.Version++ })
	partition := change(func(r *Ref) { r.Partition = []byte("P") })
	cases := []struct {
		name   string
		reader Ref
		slot   Slot
		want   error
	}{
		{"the same", r, slot, nil},
		{"the same, hidden", r, covert, nil},
		{"domain", domain, slot, ErrIntegrity},
		{"domain, hidden", domain, covert, ErrIntegrity},
		{"key id", key, slot, ErrNoKey},
		{"version", version, slot, ErrNoKey},
		{"partition", partition, slot, ErrNoKey},
		{"partition, hidden", partition, covert, ErrIntegrity},
		{"key id rewritten", key, rewrite(slot, key), ErrIntegrity},
		{"version rewritten", version, rewrite(slot, version), ErrIntegrity},
		{"partition rewritten", partition, rewrite(slot, partition), ErrIntegrity},
		{"hidden rewritten as shown", r, rewrite(covert, r), ErrIntegrity},
		{"shown rewritten as hidden", r, rewrite(slot, hidden), ErrIntegrity},
	}
	for _, c := range cases {
		k := leafKeyOf(t, c.reader, leaf)
		_, err := k.Unwrap(t.Context(), []Slot{c.slot})
		wantErr(t, c.name, err, c.want)
	}
}

func rewrite(s Slot, r Ref) Slot {
	s.Ref = r.public()
	return s
}

func TestHiddenPartition(t *testing.T) {
	r := testRef("patient 4711")
	r.HidePartition = true
	leaf := random(32)
	k := leafKeyOf(t, r, leaf)
	object := encrypt(t, k, []byte("x"), Options{})
	if bytes.Contains(object, []byte("4711")) {
		t.Error("the hidden partition stands in the object")
	}
	h := must[Header](t)(Inspect(bytes.NewReader(object)))
	if !h.Slots[0].HidePartition || h.Slots[0].Partition != nil {
		t.Errorf("Inspect shows %+v", h.Slots[0])
	}
	r.HidePartition = false // only says how to write
	if _, err := Decrypt(t.Context(), leafKeyOf(t, r, leaf), object, Options{}); err != nil {
		t.Errorf("partition named: %v", err)
	}
	opener := must[*Opener](t)(NewOpener(t.Context(), k, object[:h.Size], Options{}))
	if got := opener.Ref(); got.Domain != r.Domain || got.Partition != nil {
		t.Errorf("Ref after opening: %+v", got)
	}
}

// TestKeysChoose: the ids in the slots decide which one key is used.
func TestKeysChoose(t *testing.T) {
	a := testRef("a")
	with := func(f func(r *Ref)) Ref {
		r := a.clone()
		f(&r)
		return r
	}
	b := with(func(r *Ref) { r.Partition = []byte("b") })
	next := with(func(r *Ref) { r.Version++ })
	covert := with(func(r *Ref) { r.HidePartition = true })
	ka, kb, kn, kh := leafKey(t, a), leafKey(t, b), leafKey(t, next), leafKey(t, covert)
	wrap := func(k *LeafKey) Slot { return must[Slot](t)(k.Wrap(t.Context(), random(32))) }
	sa, sb, sn, sh := wrap(ka), wrap(kb), wrap(kn), wrap(kh)
	damaged := sa
	damaged.Message[60] ^= 1
	cases := []struct {
		name  string
		keys  Keys
		slots []Slot
		slot  int
		want  error
	}{
		{"nothing at hand", Keys{}, []Slot{sa}, 0, ErrNoKey},
		{"none fits", Keys{ka, kb}, []Slot{sn}, 0, ErrNoKey},
		{"the second key", Keys{kb, ka}, []Slot{sa}, 0, nil},
		{"the second slot", Keys{ka}, []Slot{sn, sa}, 1, nil},
		{"the first of two", Keys{ka, kb}, []Slot{sb, sa}, 0, nil},
		{"the same key twice", Keys{ka, ka}, []Slot{sa}, 0, nil},
		{"no second slot after a damaged one", Keys{ka, kb}, []Slot{damaged, sb}, 0, ErrIntegrity},
		{"shown before hidden", Keys{kb}, []Slot{sh, sb}, 1, nil},
		{"hidden, right partition", Keys{kh}, []Slot{sn, sh}, 1, nil},
		{"hidden, other partition", Keys{kb}, []Slot{sh}, 0, ErrIntegrity},
		{"hidden, two partitions fit", Keys{kh, kb}, []Slot{sh}, 0, ErrNoKey},
		{"hidden, an other version is none", Keys{kh, kn}, []Slot{sh}, 0, nil},
	}
	for _, c := range cases {
		got, err := c.keys.Unwrap(context.Background(), c.slots)
		wantErr(t, c.name, err, c.want)
		if err == nil && (got.Slot != c.slot || got.Domain != a.Domain || len(got.DEK) != DEKSize) {
			t.Errorf("%s: %+v", c.name, got.Slot)
		}
	}
}

// TestLeafKeyDoesNotPrint: formatting a key shows none of it.
func TestLeafKeyDoesNotPrint(t *testing.T) {
	leaf := bytes.Repeat([]byte{0xc7}, 32)
	k := leafKeyOf(t, testRef("p"), leaf)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		out := fmt.Sprintf(verb, k)
		if strings.Contains(out, "c7c7c7c7") || strings.Contains(out, "199 199 199") || strings.Contains(out, "0xc7, 0xc7") {
			t.Errorf("%s prints the leaf", verb)
		}
	}
}
