// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// ErasurePlan is what [Hierarchy.PlanErasure] needs to know.
type ErasurePlan struct {
	Destroyed []VersionRef     // versions to destroy
	Versions  []Version        // every version that the log holds and that isn't erased
	Live      []ServerEpochKey // newest epoch key of every unfenced server, this one included
}

// PlanErasure prepares the end of this erasure epoch: it makes the next EEK and
// seals it to every live server, replaces each segment that holds a destroyed
// version by a new one with its survivors, rewraps the keys of the others, and
// reads everything back. Nothing that exists is changed: until the switch is in
// the log the old epoch stands, and a plan that isn't recorded is garbage for
// the next [Hierarchy.Sweep]. The caller appends the switch directly after the
// log position that Versions shows; if the log has moved, new versions must be
// covered ([Switch.Covers]), else it plans anew.
//
// A survivor that can't be read or that misses its commitment stops the plan.
func (h *Hierarchy) PlanErasure(ctx context.Context, in ErasurePlan) (*Switch, error) {
	s, err := h.snapshot()
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	p := &planner{h: h, from: s, eek: secret.Random(keySize)}
	defer p.eek.Wipe()
	p.sw.From = s.at
	p.sw.To.Number = s.at.Number + 1
	rand.Read(p.sw.To.ID[:])
	p.sw.Commit = eekCommitment(p.eek, h.o.Domain, p.sw.To)
	p.sw.Destroyed = slices.Clone(in.Destroyed)
	if err := p.sort(in); err != nil {
		return nil, err
	}
	if err := p.grants(in.Live); err != nil {
		return nil, err
	}
	if err := p.segments(ctx); err != nil {
		return nil, err
	}
	if !h.current(s) {
		return nil, ErrSwitched
	}
	return &p.sw, p.sw.Check()
}

// planner holds one plan in the making.
type planner struct {
	h         *Hierarchy
	from      *epochState
	eek       *secret.Bytes
	sw        Switch
	survivors map[[16]byte][]Version // by segment, of all segments in use
	hit       map[[16]byte]bool      // segments that hold a destroyed version
}

// sort files the versions under their segments.
func (p *planner) sort(in ErasurePlan) error {
	destroyed := make(map[VersionRef]bool)
	for _, ref := range in.Destroyed {
		destroyed[ref] = true
	}
	if len(destroyed) == 0 || len(destroyed) != len(in.Destroyed) {
		return fmt.Errorf("%w plan: destroyed versions are missing or named twice", ErrInvalid)
	}
	p.survivors, p.hit = make(map[[16]byte][]Version), make(map[[16]byte]bool)
	seen := make(map[VersionRef]bool, len(in.Versions))
	for _, v := range in.Versions {
		if seen[v.Ref()] || v.Segment == [16]byte{} || v.ErasureEpoch != p.from.at.Number {
			return fmt.Errorf("%w plan: a version is named twice or is not of this erasure epoch", ErrInvalid)
		}
		seen[v.Ref()] = true
		if destroyed[v.Ref()] {
			p.hit[v.Segment] = true
			delete(destroyed, v.Ref())
			continue
		}
		p.survivors[v.Segment] = append(p.survivors[v.Segment], v)
	}
	if len(destroyed) > 0 {
		return fmt.Errorf("%w plan: a version to destroy is not among the recorded ones", ErrInvalid)
	}
	return nil
}

// grants seals the new EEK to each live server.
func (p *planner) grants(live []ServerEpochKey) error {
	self := false
	for _, to := range live {
		// Security: a key that this server doesn't hold the private half of
		// would lock it out of its own epoch.
		if to.Server == p.h.o.Server {
			self = slices.Equal(to.Public, p.from.public)
		}
		if to.Epoch != p.from.at.Number {
			return fmt.Errorf("%w plan: server %x gave no receipt for erasure epoch %d", ErrInvalid, to.Server, p.from.at.Number)
		}
		g, err := p.h.makeGrant(p.sw.To, p.eek, to)
		if err != nil {
			return err
		}
		p.sw.Grants = append(p.sw.Grants, g)
	}
	if !self {
		return fmt.Errorf("%w plan: this server and its present epoch key are not among the live ones", ErrInvalid)
	}
	return nil
}

// segments rewraps and replaces.
func (p *planner) segments(ctx context.Context) error {
	ids := make(map[[16]byte]bool)
	maps.Copy(ids, p.hit)
	var marker []byte
	for id := range p.survivors {
		ids[id] = true
	}
	order := slices.SortedFunc(maps.Keys(ids), func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	for _, id := range order {
		seg := SegmentSwitch{Old: id, New: id}
		if p.hit[id] {
			seg.New = [16]byte{}
			if len(p.survivors[id]) > 0 {
				rand.Read(seg.New[:])
				marker = append(marker, seg.New[:]...)
			}
		}
		p.sw.Segments = append(p.sw.Segments, seg)
	}
	// The marker comes first, so that a plan which dies can be swept.
	if err := p.h.markPlan(ctx, p.sw.To, marker); err != nil {
		return err
	}
	for _, seg := range p.sw.Segments {
		if err := p.segment(ctx, seg); err != nil {
			return err
		}
	}
	return nil
}

// segment does one segment and reads it back.
func (p *planner) segment(ctx context.Context, seg SegmentSwitch) error {
	if seg.New == [16]byte{} {
		return nil
	}
	old, err := p.h.loadSegmentKey(ctx, seg.Old, p.from.at, p.from.eek)
	if err != nil {
		return err
	}
	defer old.key.Wipe()
	next := old
	if seg.New != seg.Old {
		next = segmentSecret{secret.Random(keySize), p.sw.To.Number}
		defer next.key.Wipe()
	}
	if err := p.h.putSegmentKey(ctx, seg.New, p.sw.To, p.eek, next); err != nil {
		return err
	}
	back, err := p.h.loadSegmentKey(ctx, seg.New, p.sw.To, p.eek)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer back.key.Wipe()
	if !back.key.Equal(next.key) || back.born != next.born {
		return fmt.Errorf("%w: segment key was not stored as it was sealed", ErrIncomplete)
	}
	for _, v := range p.survivors[seg.Old] {
		if err := p.survivor(ctx, seg, v, old.key, next.key); err != nil {
			return fmt.Errorf("version %d of key %x: %w", v.Number, v.KeyID, err)
		}
	}
	return nil
}

// survivor copies one version into a new segment, or checks that it is readable
// in the kept one.
func (p *planner) survivor(ctx context.Context, seg SegmentSwitch, v Version, old, key *secret.Bytes) error {
	item, err := p.h.loadItem(ctx, seg.Old, old, &v)
	if err != nil {
		return err
	}
	defer item.Wipe()
	if err := p.h.checkItem(&v, item); err != nil {
		return err
	}
	if seg.New == seg.Old {
		return nil
	}
	if err := p.h.putItem(ctx, seg.New, key, &v, item); err != nil {
		return err
	}
	back, err := p.h.loadItem(ctx, seg.New, key, &v)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer back.Wipe()
	if !back.Equal(item) {
		return fmt.Errorf("%w: item was not stored as it was sealed", ErrIncomplete)
	}
	return nil
}

// checkItem checks an item against the version's commitment.
func (h *Hierarchy) checkItem(v *Version, item *secret.Bytes) error {
	if v.Stored {
		if item.Len() <= keySize {
			return fmt.Errorf("%w item of a stored version", ErrInvalid)
		}
		k := storedKey(item)
		defer k.Wipe()
		return h.checkCommitment(v, k)
	}
	k, err := h.derive(v, item)
	if err != nil {
		return err
	}
	defer k.Wipe()
	return h.checkCommitment(v, k)
}

// Erase carries out a switch that is in the log: it takes this server's EEK of
// the new epoch, makes sure that every segment the switch keeps opens under it,
// makes a new epoch key, and erases the old EEK with its private epoch key from
// the medium and from memory. A server that the switch doesn't name erases and
// then waits for a grant. Erase may be repeated; on an error other than
// ErrIncomplete the old key may or may not be gone, and only repeating tells.
func (h *Hierarchy) Erase(ctx context.Context, sw *Switch) (Receipt, error) {
	if err := sw.Check(); err != nil {
		return Receipt{}, err
	}
	h.openMu.Lock()
	defer h.openMu.Unlock()
	if h.cur.at == sw.To {
		return h.Receipt(), h.eraseAllBut(h.cur)
	}
	if h.cur.at != sw.From {
		return Receipt{}, fmt.Errorf("%w: the switch doesn't end this server's erasure epoch", ErrInvalid)
	}
	if err := h.advance(ctx, sw); err != nil {
		return Receipt{}, err
	}
	return h.Receipt(), nil
}

// advance takes the EEK of a switch and, once all that the switch keeps is
// readable under it, erases every older one. The caller holds openMu, or nobody
// else has h yet; readers go on with the old state until the last step.
func (h *Hierarchy) advance(ctx context.Context, sw *Switch) error {
	g, ok := sw.grant(h.o.Server)
	if !ok {
		return h.retire(sw.To)
	}
	next, err := h.takeGrant(sw, g)
	if err != nil {
		return err
	}
	err = h.verifySegments(ctx, sw, next)
	if err == nil {
		err = h.storeState(next)
	}
	if err == nil {
		err = h.eraseAllBut(next)
	}
	if err != nil {
		next.wipe()
		return err
	}
	h.replace(next)
	return nil
}

// verifySegments makes sure that no segment is lost with the old EEK. Every
// server does it for itself: the store may have lost since what the planner read
// back.
func (h *Hierarchy) verifySegments(ctx context.Context, sw *Switch, next *epochState) error {
	for _, seg := range sw.Segments {
		if seg.New == [16]byte{} {
			continue
		}
		segment, err := h.loadSegmentKey(ctx, seg.New, next.at, next.eek)
		if err != nil {
			return fmt.Errorf("%w: segment %x: %w", ErrIncomplete, seg.New, err)
		}
		segment.key.Wipe()
	}
	return nil
}

// markPlan notes the new segments of a plan.
func (h *Hierarchy) markPlan(ctx context.Context, at EpochID, segments []byte) error {
	value := append(u64(at.Number), segments...)
	if err := h.o.Slots.Put(ctx, planPrefix+fmt.Sprintf("%x", at.ID), 0, value); err != nil {
		return fmt.Errorf("mark plan: %w", err)
	}
	return nil
}

// remove deletes a slot that List gave; somebody else may have been faster.
func (h *Hierarchy) remove(ctx context.Context, e store.Entry) error {
	err := h.o.Slots.Put(ctx, e.Key, e.Version, nil)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("delete slot: %w", err)
	}
	return nil
}
