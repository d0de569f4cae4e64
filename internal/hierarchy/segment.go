// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// SegmentItems is how many sealed items one segment holds at most. It bounds
// the work of an erasure: the destroyed version's segment is written anew, of
// every other one only the key is rewrapped.
const SegmentItems = 1024

// Slot names. A segment's key has one slot per erasure epoch and switch, so that
// the old wrapping stands while the new one is prepared. An item's name contains
// its version commitment, so that no attempt ever overwrites another's secret.
//
//	segment/SEGMENT/key/EPOCH-SWITCH            segment key under EEK
//	segment/SEGMENT/item/KEY/VERSION/COMMIT     version secret or material
//	segment-open/SERVER                         the segment a server fills
//	segment-plan/SWITCH                         segments that a plan made
const (
	segmentPrefix = "segment/"
	openPrefix    = "segment-open/"
	planPrefix    = "segment-plan/"
)

func segmentSlots(segment [16]byte) string {
	return segmentPrefix + hex.EncodeToString(segment[:]) + "/"
}

func segmentKeySlots(segment [16]byte) string  { return segmentSlots(segment) + "key/" }
func segmentItemSlots(segment [16]byte) string { return segmentSlots(segment) + "item/" }

func segmentKeySlot(segment [16]byte, at EpochID) string {
	return segmentKeySlots(segment) + fmt.Sprintf("%016x-%x", at.Number, at.ID)
}

func itemSlot(segment [16]byte, v *Version) string {
	return segmentItemSlots(segment) + fmt.Sprintf("%x/%016x/%x", v.KeyID, v.Number, v.VC[:16])
}

// segmentKeyPlace binds a wrapped segment key.
func (h *Hierarchy) segmentKeyPlace(segment [16]byte, at EpochID) place {
	return place{h.o.Domain, kindSegmentKey, [][]byte{segment[:], u64(at.Number), at.ID[:]}}
}

// itemPlace binds a wrapped version secret or material.
func (h *Hierarchy) itemPlace(segment [16]byte, v *Version) place {
	kind := kindVersion
	if v.Stored {
		kind = kindMaterial
	}
	return place{h.o.Domain, kind, [][]byte{v.KeyID[:], u64(v.Number), segment[:]}}
}

// openSegment is the segment that this server adds to. It was made in the
// present erasure epoch: an older one, kept at a switch, is never added to, since
// whoever has an older EEK, from a backup say, has its key, and would have
// versions that didn't exist then.
type openSegment struct {
	id    [16]byte
	key   *secret.Bytes
	at    EpochID
	count int
}

func (s *openSegment) wipe() {
	if s != nil {
		wipe(s.key)
	}
}

// newSegment makes a segment, its key wrapped under eek, durably.
func (h *Hierarchy) newSegment(ctx context.Context, at EpochID, eek *secret.Bytes) (*openSegment, error) {
	s := &openSegment{key: secret.Random(keySize), at: at}
	rand.Read(s.id[:])
	if err := h.putSegmentKey(ctx, s.id, at, eek, segmentSecret{s.key, at.Number}); err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

// segmentSecret is what is wrapped of a segment: its key (32) and the erasure
// epoch in which it was made (8).
type segmentSecret struct {
	key  *secret.Bytes
	born uint64
}

// putSegmentKey wraps a segment's key under an EEK, durably.
func (h *Hierarchy) putSegmentKey(ctx context.Context, id [16]byte, at EpochID, eek *secret.Bytes, s segmentSecret) error {
	plaintext := secret.New(keySize + 8)
	defer plaintext.Wipe()
	binary.BigEndian.PutUint64(plaintext.Expose()[copy(plaintext.Expose(), s.key.Expose()):], s.born)
	blob := seal(eek, h.segmentKeyPlace(id, at), plaintext.Expose())
	if err := h.o.Slots.Put(ctx, segmentKeySlot(id, at), 0, blob); err != nil {
		return fmt.Errorf("store segment key: %w", err)
	}
	return nil
}

// loadSegmentKey unwraps a segment's key, uncached. ErrErased: the segment has no
// key in this epoch. The caller wipes the key.
func (h *Hierarchy) loadSegmentKey(ctx context.Context, id [16]byte, at EpochID, eek *secret.Bytes) (s segmentSecret, err error) {
	blob, _, err := h.o.Slots.Get(ctx, segmentKeySlot(id, at))
	if errors.Is(err, store.ErrNotFound) {
		return s, fmt.Errorf("%w: segment has no key in erasure epoch %d", ErrErased, at.Number)
	}
	if err != nil {
		return s, fmt.Errorf("read segment key: %w", err)
	}
	plaintext, err := unseal(eek, h.segmentKeyPlace(id, at), blob)
	if err != nil {
		return s, fmt.Errorf("open segment key: %w", err)
	}
	defer plaintext.Wipe()
	if plaintext.Len() != keySize+8 {
		return s, fmt.Errorf("%w segment key", ErrInvalid)
	}
	s.born = binary.BigEndian.Uint64(plaintext.Expose()[keySize:])
	s.key = secret.Take(plaintext.Expose()[:keySize])
	return s, nil
}

// segmentKey unwraps a segment key through the cache.
func (h *Hierarchy) segmentKey(ctx context.Context, s *epochState, id [16]byte) (*secret.Bytes, error) {
	name := wire.Sum("cache segment", id[:], u64(s.at.Number), s.at.ID[:])
	if key := h.cache.get(name); key != nil {
		return key, nil
	}
	segment, err := h.loadSegmentKey(ctx, id, s.at, s.eek)
	if err != nil {
		return nil, err
	}
	h.remember(s, name, segment.key)
	return segment.key, nil
}

// openForWriting gives the segment for the next item; the caller holds openMu.
func (h *Hierarchy) openForWriting(ctx context.Context, s *epochState) (*openSegment, error) {
	if h.open == nil || h.open.at != s.at {
		h.open.wipe()
		h.open = nil
		resumed, err := h.resumeSegment(ctx, s)
		if err != nil {
			return nil, err
		}
		h.open = resumed
	}
	if h.open != nil && h.open.count < SegmentItems {
		return h.open, nil
	}
	fresh, err := h.newSegment(ctx, s.at, s.eek)
	if err != nil {
		return nil, err
	}
	if err := h.markOpen(ctx, fresh.id); err != nil {
		fresh.wipe()
		return nil, err
	}
	h.open.wipe()
	h.open = fresh
	return fresh, nil
}

// resumeSegment finds the segment that this server filled before it restarted,
// if its key opens and was made in this epoch; nil if there is none. The marker is
// a hint: a wrong one costs a segment, no secret.
func (h *Hierarchy) resumeSegment(ctx context.Context, s *epochState) (*openSegment, error) {
	marker, _, err := h.o.Slots.Get(ctx, h.openSlot())
	if errors.Is(err, store.ErrNotFound) || (err == nil && len(marker) != 16) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read open segment: %w", err)
	}
	open := &openSegment{id: [16]byte(marker), at: s.at}
	segment, err := h.loadSegmentKey(ctx, open.id, s.at, s.eek)
	if errors.Is(err, ErrErased) || errors.Is(err, errSealed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	open.key = segment.key
	if segment.born != s.at.Number {
		open.wipe()
		return nil, nil
	}
	for _, err := range h.o.Slots.List(ctx, segmentItemSlots(open.id)) {
		if err != nil {
			open.wipe()
			return nil, fmt.Errorf("count items of segment: %w", err)
		}
		open.count++
	}
	return open, nil
}

// markOpen notes the segment that this server fills.
func (h *Hierarchy) markOpen(ctx context.Context, id [16]byte) error {
	_, version, err := h.o.Slots.Get(ctx, h.openSlot())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read open segment: %w", err)
	}
	if err := h.o.Slots.Put(ctx, h.openSlot(), version, id[:]); err != nil {
		return fmt.Errorf("mark open segment: %w", err)
	}
	return nil
}

func (h *Hierarchy) openSlot() string { return openPrefix + hex.EncodeToString(h.o.Server[:]) }

// putItem seals an item of a version into a segment, durably.
func (h *Hierarchy) putItem(ctx context.Context, segment [16]byte, key *secret.Bytes, v *Version, item *secret.Bytes) error {
	blob := seal(key, h.itemPlace(segment, v), item.Expose())
	if err := h.o.Slots.Put(ctx, itemSlot(segment, v), 0, blob); err != nil {
		return fmt.Errorf("store item of version: %w", err)
	}
	return nil
}

// loadItem unwraps the item of a version.
func (h *Hierarchy) loadItem(ctx context.Context, segment [16]byte, key *secret.Bytes, v *Version) (*secret.Bytes, error) {
	blob, _, err := h.o.Slots.Get(ctx, itemSlot(segment, v))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: no item in its segment", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read item of version: %w", err)
	}
	item, err := unseal(key, h.itemPlace(segment, v), blob)
	if err != nil {
		return nil, fmt.Errorf("open item of version: %w", err)
	}
	return item, nil
}
