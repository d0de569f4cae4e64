// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/kdf"
	"claviger/internal/secret"
)

// LeafSize is the size of a leaf key in bytes.
const LeafSize = 32

// LeafKey wraps, unwraps and seals fields with one leaf key. What it holds lies
// in protected memory. It is safe for concurrent use, except Wipe.
type LeafKey struct {
	ref         Ref
	slot, field *cobblestone.Key
}

var (
	_ Wrapper   = (*LeafKey)(nil)
	_ Unwrapper = (*LeafKey)(nil)
	_ Unwrapper = Keys(nil)
)

// NewLeafKey makes a LeafKey of the 32 bytes that a release delivered for ref.
// It wipes leaf in every case, because it needs only what it derives from it;
// whoever hands in memory with a lifetime of its own keeps that alive until the
// call returns. ref must have a Domain and a Version; its HidePartition decides
// how the slots and fields are written, and has no meaning for opening.
//
// Whether leaf is the key that ref names has to be checked before (against the
// key commitment in the release): here it could not be known.
func NewLeafKey(ref Ref, leaf []byte) (*LeafKey, error) {
	if len(leaf) != LeafSize {
		secret.Wipe(leaf)
		return nil, errors.New("leaf key is not 32 bytes")
	}
	moved := secret.Take(leaf)
	defer moved.Wipe()
	if err := ref.check(); err != nil {
		return nil, err
	}
	slot := kdf.SlotKey(moved, ref.Domain)
	defer slot.Wipe()
	field := kdf.FieldKey(moved, ref.Domain)
	defer field.Wipe()
	return &LeafKey{ref: ref.clone(), slot: mustKey(cobblestone.NewKey(slot)), field: mustKey(cobblestone.NewValueKey(field))}, nil
}

func mustKey(k *cobblestone.Key, err error) *cobblestone.Key {
	if err != nil {
		panic("envelope: derived keys have 32 bytes: " + err.Error())
	}
	return k
}

// Ref returns the name of the key.
func (k *LeafKey) Ref() Ref { return k.ref.clone() }

// Wipe forgets the key. What was opened or begun with it stays usable.
func (k *LeafKey) Wipe() {
	k.slot.Wipe()
	k.field.Wipe()
}

// Wrap implements Wrapper. It returns an error for a DEK that isn't 32 bytes.
func (k *LeafKey) Wrap(_ context.Context, dek []byte) (Slot, error) {
	if len(dek) != DEKSize {
		return Slot{}, errors.New("data key is not 32 bytes")
	}
	slot := Slot{Ref: k.ref.clone()}
	bound := k.ref.context("slot")
	if _, err := k.slot.Seal(slot.Message[:0], dek, bound[:]); err != nil {
		return Slot{}, sealed(err)
	}
	return slot, nil
}

// Unwrap implements Unwrapper: it is Keys{k}.Unwrap.
func (k *LeafKey) Unwrap(ctx context.Context, slots []Slot) (Unwrapped, error) {
	return Keys{k}.Unwrap(ctx, slots)
}

// unwrap opens the slot with the given number, whatever key it names.
func (k *LeafKey) unwrap(slots []Slot, number int) (Unwrapped, error) {
	slot := slots[number]
	bound := k.as(slot.Ref).context("slot")
	dek, err := k.slot.Open(nil, slot.Message[:], bound[:])
	if err != nil {
		return Unwrapped{}, opened(err)
	}
	return Unwrapped{DEK: dek, Slot: number, Domain: k.ref.Domain}, nil
}

// as is the key's Ref in the form in which a ciphertext writes it: with or
// without its partition.
func (k *LeafKey) as(written Ref) Ref {
	r := k.ref
	r.HidePartition = written.HidePartition
	return r
}

// Keys opens objects with whichever of its keys a slot names.
type Keys []*LeafKey

// Unwrap implements Unwrapper. It takes the first slot that shows the ids of one
// of the keys; if there is none, the first that hides its partition and shows
// the rest. If keys of several partitions fit a hidden one, it returns ErrNoKey
// and tries none: name the right one.
func (ks Keys) Unwrap(_ context.Context, slots []Slot) (Unwrapped, error) {
	for _, hidden := range []bool{false, true} {
		for i, slot := range slots {
			if slot.Ref.HidePartition != hidden {
				continue
			}
			k, err := ks.find(slot.Ref)
			if err != nil {
				return Unwrapped{}, err
			}
			if k != nil {
				return k.unwrap(slots, i)
			}
		}
	}
	return Unwrapped{}, ErrNoKey
}

// find returns the one key that fits a written Ref, nil if there is none, an
// error if only a trial could tell which.
func (ks Keys) find(written Ref) (*LeafKey, error) {
	var found *LeafKey
	for _, k := range ks {
		if !k.ref.opens(written) {
			continue
		}
		if found != nil && !found.ref.sameLeaf(k.ref) {
			return nil, fmt.Errorf("several keys fit one slot: %w", ErrNoKey)
		}
		found = k
	}
	return found, nil
}

// sameLeaf reports whether both name the same leaf, however they write it.
func (r Ref) sameLeaf(o Ref) bool {
	return r.Domain == o.Domain && r.names(o.KeyID, o.Version) && bytes.Equal(r.Partition, o.Partition)
}

// clone copies the Ref's only reference, the partition.
func (r Ref) clone() Ref {
	r.Partition = slices.Clone(r.Partition)
	return r
}
