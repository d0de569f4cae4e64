// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"claviger/internal/store"
)

// Sweep deletes slots that the newest switch left behind: replaced segments,
// wrappings under older EEKs, and what plans made that never entered the log. It
// tidies, it doesn't erase: a store may keep all it ever held. Call it when every
// live server's receipt for the switch is recorded, since a server that hasn't
// switched still reads the old slots. It may be repeated and interrupted.
func (h *Hierarchy) Sweep(ctx context.Context, sw *Switch) error {
	if err := sw.Check(); err != nil {
		return err
	}
	if h.Epoch() != sw.To {
		return fmt.Errorf("%w: sweep of another erasure epoch than this server's", ErrInvalid)
	}
	live := make(map[[16]byte]bool)
	stale := func(rest string) bool { return rest[:min(16, len(rest))] <= fmt.Sprintf("%016x", sw.To.Number) }
	for _, seg := range sw.Segments {
		live[seg.New] = true
		if seg.New != seg.Old {
			if err := h.sweepPrefix(ctx, segmentSlots(seg.Old), func(string) bool { return true }); err != nil {
				return err
			}
			continue
		}
		keep := strings.TrimPrefix(segmentKeySlot(seg.Old, sw.To), segmentKeySlots(seg.Old))
		err := h.sweepPrefix(ctx, segmentKeySlots(seg.Old), func(rest string) bool { return rest != keep && stale(rest) })
		if err != nil {
			return err
		}
	}
	return h.sweepPlans(ctx, sw, live)
}

// sweepPrefix deletes the slots under a prefix whose rest of the name is doomed.
func (h *Hierarchy) sweepPrefix(ctx context.Context, prefix string, doomed func(rest string) bool) error {
	for e, err := range h.o.Slots.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list slots: %w", err)
		}
		if !doomed(e.Key[len(prefix):]) {
			continue
		}
		if err := h.remove(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// sweepPlans deletes the segments of plans up to this epoch that lost, and the
// marks of all.
func (h *Hierarchy) sweepPlans(ctx context.Context, sw *Switch, live map[[16]byte]bool) error {
	for e, err := range h.o.Slots.List(ctx, planPrefix) {
		if err != nil {
			return fmt.Errorf("list plans: %w", err)
		}
		if len(e.Value) < 8 || binary.BigEndian.Uint64(e.Value) > sw.To.Number {
			continue
		}
		for ids := e.Value[8:]; len(ids) >= 16; ids = ids[16:] {
			if err := h.sweepLost(ctx, [16]byte(ids), sw.To, live); err != nil {
				return err
			}
		}
		if err := h.remove(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// sweepLost deletes a segment of a plan that never entered the log. A mark is
// only the store's word: a segment in use is spared whatever it says.
func (h *Hierarchy) sweepLost(ctx context.Context, id [16]byte, at EpochID, live map[[16]byte]bool) error {
	_, _, err := h.o.Slots.Get(ctx, segmentKeySlot(id, at))
	if live[id] || err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read segment key: %w", err)
	}
	return h.sweepPrefix(ctx, segmentSlots(id), func(string) bool { return true })
}
