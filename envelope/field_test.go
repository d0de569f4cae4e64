// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"errors"
	"testing"
)

func TestField(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		r := testRef("tenant")
		r.HidePartition = hidden
		k := leafKey(t, r)
		for _, n := range []int{0, 1, 100, MaxField} {
			plain := random(n)
			field := must[[]byte](t)(k.SealField(plain, []byte("t.c/1")))
			if want := n + FieldOverhead + len(r.shown()); len(field) != want {
				t.Errorf("%d bytes sealed to %d, want %d", n, len(field), want)
			}
			got, err := k.OpenField(field, []byte("t.c/1"))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: %v", n, err)
			}
			ref := must[Ref](t)(InspectField(field))
			if ref.KeyID != r.KeyID || ref.Version != r.Version || !bytes.Equal(ref.Partition, r.shown()) || ref.HidePartition != hidden {
				t.Errorf("InspectField: %+v", ref)
			}
		}
	}
}

func TestFieldRefused(t *testing.T) {
	r := testRef("p")
	leaf := random(32)
	k := leafKeyOf(t, r, leaf)
	field := must[[]byte](t)(k.SealField([]byte("4111 1111"), []byte("row 1")))
	_, err := k.OpenField(field, []byte("row 2"))
	wantErr(t, "value moved to another row", err, ErrIntegrity)
	_, err = k.OpenField(field, nil)
	wantErr(t, "no context", err, ErrIntegrity)
	if _, err := k.SealField(make([]byte, MaxField+1), nil); err == nil {
		t.Error("a field of two chunks was sealed")
	}
	change := func(f func(r *Ref)) *LeafKey {
		c := r.clone()
		f(&c)
		return leafKeyOf(t, c, leaf)
	}
	cases := map[string]struct {
		k    *LeafKey
		want error
	}{
		"domain":     {change(func(r *Ref) { r.Domain[0] ^= 1 }), ErrIntegrity},
		"key id":     {change(func(r *Ref) { r.KeyID[0] ^= 1 }), ErrNoKey},
		"version":    {change(func(r *Ref) { r.Version++ }), ErrNoKey},
		"partition":  {change(func(r *Ref) { r.Partition = nil }), ErrNoKey},
		"other leaf": {leafKey(t, r), ErrIntegrity},
		"hiding key": {change(func(r *Ref) { r.HidePartition = true }), nil},
	}
	for name, c := range cases {
		_, err := c.k.OpenField(field, []byte("row 1"))
		wantErr(t, name, err, c.want)
	}
}

// TestFieldEveryBit flips each bit, and cuts at each length.
func TestFieldEveryBit(t *testing.T) {
	k := leafKey(t, testRef("p"))
	field := must[[]byte](t)(k.SealField([]byte("4111 1111"), nil))
	for bit := range len(field) * 8 {
		bad := bytes.Clone(field)
		bad[bit/8] ^= 1 << (bit % 8)
		got, err := k.OpenField(bad, nil)
		want := ErrIntegrity
		switch at := bit / 8; {
		case at == 1:
			want = ErrVersion
		case at < 1, at == 2 && bit%8 > 0:
			want = ErrFormat
		case at > 2 && at < 27, at == 29:
			want = ErrNoKey
		}
		// Another size of the partition may well make another partition.
		resized := bit/8 == 28 && errors.Is(err, ErrNoKey)
		if (!errors.Is(err, want) && !resized) || got != nil {
			t.Errorf("bit %d of byte %d: %v, want %v", bit%8, bit/8, err, want)
		}
	}
	for n := range len(field) {
		want := ErrIntegrity
		if n < 2 {
			want = ErrFormat
		}
		_, err := k.OpenField(field[:n], nil)
		wantErr(t, "cut", err, want)
		_, err = InspectField(field[:n])
		if n < 2+refFixed+1+72 {
			wantErr(t, "cut, inspected", err, want)
		}
	}
	_, err := k.OpenField(append(bytes.Clone(field), 0), nil)
	wantErr(t, "byte added", err, ErrIntegrity)
	_, err = InspectField(append(bytes.Clone(field), make([]byte, chunk)...))
	wantErr(t, "more than a chunk", err, ErrIntegrity)
	wide := append(mutate(field, set(27, 1, 1)), make([]byte, 257)...)
	_, err = InspectField(wide)
	wantErr(t, "partition of 257 bytes, all there", err, ErrIntegrity)
}

// TestFieldHiddenCantBeRewritten: a field that shows its partition, rewritten so
// as to hide it, is another ciphertext, though the key is the same.
func TestFieldHiddenCantBeRewritten(t *testing.T) {
	k := leafKey(t, testRef("p"))
	field := must[[]byte](t)(k.SealField([]byte("x"), nil))
	message := field[2+refFixed+1:]
	bad := append(hide(k.Ref(), "p").append([]byte{fieldMagic, version}), message...)
	_, err := k.OpenField(bad, nil)
	wantErr(t, "rewritten", err, ErrIntegrity)
}

// TestKindsAreApart: a slot's message isn't a field, and the other way round,
// though both come of one leaf.
func TestKindsAreApart(t *testing.T) {
	k := leafKey(t, testRef(""))
	dek := random(32)
	slot := must[Slot](t)(k.Wrap(t.Context(), dek))
	asField := append(k.Ref().append([]byte{fieldMagic, version}), slot.Message[:]...)
	_, err := k.OpenField(asField, nil)
	wantErr(t, "slot as field", err, ErrIntegrity)
	field := must[[]byte](t)(k.SealField(dek, nil))
	copy(slot.Message[:], field[len(field)-SlotMessageSize:])
	_, err = k.Unwrap(t.Context(), []Slot{slot})
	wantErr(t, "field as slot", err, ErrIntegrity)
	_, err = Decrypt(t.Context(), k, field, Options{})
	wantErr(t, "field as object", err, ErrFormat)
	_, err = k.OpenField(encrypt(t, k, nil, Options{}), nil)
	wantErr(t, "object as field", err, ErrFormat)
}
