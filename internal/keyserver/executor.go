// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/hierarchy"
	"claviger/internal/members"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// carryOut does at once what a body that was just applied asks of this server.
func (c *Core) carryOut(ctx context.Context, body *wire.Body) error {
	switch body.Kind {
	case authority.KindKeyCreate:
		var p authority.KeyCreate
		if err := wire.Unmarshal(body.Payload, &p, wire.MaxBody); err != nil {
			return err
		}
		return c.makeVersions(ctx, p.ID)
	case authority.KindKeyRotate:
		var p authority.KeyRef
		if err := wire.Unmarshal(body.Payload, &p, wire.MaxBody); err != nil {
			return err
		}
		return c.makeVersions(ctx, p.ID)
	case authority.KindKeyDestroy:
		return errors.Join(c.destroyDue(ctx), c.sweepDue(ctx))
	}
	return nil
}

// execute does everything that is due: versions, destructions, receipts.
func (c *Core) execute(ctx context.Context) error {
	var errs []error
	now := c.now().UnixMilli()
	for _, k := range c.allKeys() {
		if versionDue(k, now) {
			errs = append(errs, c.makeVersions(ctx, k.ID))
		}
	}
	// The receipt first: a new erasure needs the one of the last.
	return errors.Join(append(errs, c.receipt(ctx), c.destroyDue(ctx), c.sweepDue(ctx), c.own.refresh(), c.writeBudget(false))...)
}

func (c *Core) allKeys() []*authority.Key {
	var out []*authority.Key
	c.log.View(func(s *authority.State) {
		out = make([]*authority.Key, 0, s.KeyCount())
		for k := range s.Keys() {
			out = append(out, k)
		}
	})
	return out
}

func versionDue(k *authority.Key, now int64) bool {
	n := uint64(len(k.Versions))
	if n < k.Ordered {
		return true
	}
	// What people switched off, or destroyed whole, does not go on by itself.
	if n == 0 || k.Settings.Rotation == 0 || k.Disabled || !alive(k) {
		return false
	}
	return now >= k.Versions[n-1].Created+int64(k.Settings.Rotation)*1000
}

// alive reports whether any version is neither destroyed nor about to be.
func alive(k *authority.Key) bool {
	return slices.ContainsFunc(k.Versions, func(v authority.Version) bool {
		return v.State != wire.StateDestroyed && v.DestroyAt == 0
	})
}

// makeVersions makes a key's next version until none is due.
func (c *Core) makeVersions(ctx context.Context, id wire.KeyID) error {
	c.execMu.Lock()
	defer c.execMu.Unlock()
	for {
		var k *authority.Key
		c.log.View(func(s *authority.State) { k = s.Key(id) })
		if k == nil || !versionDue(k, c.now().UnixMilli()) {
			return nil
		}
		if err := c.makeVersion(ctx, k); err != nil {
			return fmt.Errorf("make version %d of %s: %w", len(k.Versions)+1, k.Name, err)
		}
	}
}

func (c *Core) makeVersion(ctx context.Context, k *authority.Key) error {
	v, err := c.keys.NewVersion(ctx, k.ID, uint64(len(k.Versions))+1, k.Algorithm)
	if err != nil {
		return err
	}
	entry := authority.KeyVersion{
		ID: k.ID, Number: v.Number, RootGeneration: v.RootGeneration, Segment: v.Segment,
		ErasureEpoch: v.ErasureEpoch, VC: v.VC, Stored: v.Stored,
	}
	if v.Stored {
		// Derived from no root, but born under one: the log names it for all alike.
		c.log.View(func(s *authority.State) { entry.RootGeneration = s.Members.Genesis.RootGeneration })
	}
	rand.Read(entry.Revocation[:])
	return c.append(ctx, authority.KindKeyVersion, entry)
}

// destroyDue carries out the destruction orders whose waiting time is over, all
// in one switch to the next erasure epoch.
func (c *Core) destroyDue(ctx context.Context) error {
	c.execMu.Lock()
	defer c.execMu.Unlock()
	var plan hierarchy.ErasurePlan
	var refs []authority.VersionRef
	now := c.now().UnixMilli()
	c.log.View(func(s *authority.State) {
		for k := range s.Keys() {
			for i := range k.Versions {
				v := &k.Versions[i]
				if v.State == wire.StateDestroyed {
					continue
				}
				hv := versionOf(k, v)
				plan.Versions = append(plan.Versions, hv)
				if v.DestroyAt != 0 && v.DestroyAt <= now {
					plan.Destroyed = append(plan.Destroyed, hv.Ref())
					refs = append(refs, authority.VersionRef{ID: k.ID, Number: v.Number})
				}
			}
		}
		for _, m := range s.Members.Servers {
			if m.Status == members.StatusActive {
				plan.Live = append(plan.Live, hierarchy.ServerEpochKey{Server: m.ID(), Epoch: epochOf(s, m), Public: s.EpochKey(m)})
			}
		}
	})
	if len(refs) == 0 {
		return nil
	}
	return c.erase(ctx, plan, refs)
}

func epochOf(s *authority.State, m members.Member) uint64 {
	r, _ := s.Receipt(m.ID())
	return r.Epoch
}

func (c *Core) erase(ctx context.Context, plan hierarchy.ErasurePlan, refs []authority.VersionRef) error {
	sw, err := c.keys.PlanErasure(ctx, plan)
	if err != nil {
		return fmt.Errorf("plan erasure: %w", err)
	}
	entry := authority.Erasure{Epoch: sw.To.Number, Versions: refs, Switch: wire.Marshal(sw)}
	for _, seg := range sw.Segments {
		entry.Segments = append(entry.Segments, authority.SegmentChange{Old: seg.Old, New: seg.New})
	}
	if err := c.switchEpoch(ctx, sw, entry, plan.Versions); err != nil {
		return err
	}
	c.logger.Info("Erased an epoch", "epoch", sw.From.Number, "versions", len(refs))
	return c.receipt(ctx)
}

// switchEpoch records the switch and carries it out. Nobody decides between the
// two: by the log a key would lie in an epoch that this server isn't in yet.
func (c *Core) switchEpoch(ctx context.Context, sw *hierarchy.Switch, entry authority.Erasure, planned []hierarchy.Version) error {
	c.switching.Lock()
	defer c.switching.Unlock()
	known := make(map[hierarchy.VersionRef]bool, len(planned))
	for _, v := range planned {
		known[v.Ref()] = true
	}
	covered := func(s *authority.State) error {
		for k := range s.Keys() {
			for i := range k.Versions {
				v := versionOf(k, &k.Versions[i])
				if k.Versions[i].State != wire.StateDestroyed && !known[v.Ref()] && !sw.Covers(v) {
					return fmt.Errorf("%w: %s version %d came after the plan", hierarchy.ErrSwitched, k.Name, v.Number)
				}
			}
		}
		return nil
	}
	if err := c.appendIf(ctx, authority.KindErasure, entry, covered); err != nil {
		return fmt.Errorf("switch erasure epoch: %w", err)
	}
	if _, err := c.keys.Erase(ctx, sw); err != nil {
		return fmt.Errorf("erase epoch %d: %w", sw.From.Number, err)
	}
	return nil
}

// loggedSwitch is the newest erasure switch of the log, nil without one. A
// switch destroys keys for good, so it is believed only where it says what the
// record around it, which people's orders stand behind, says.
func loggedSwitch(s *authority.State) (*hierarchy.Switch, error) {
	if s.Switch == nil {
		return nil, nil
	}
	var sw hierarchy.Switch
	if err := wire.Unmarshal(s.Switch, &sw, wire.MaxBody); err != nil {
		return nil, fmt.Errorf("erasure switch in the log: %w", err)
	}
	if sw.To.Number != s.Erasure {
		return nil, fmt.Errorf("%w: the log is at erasure epoch %d, its switch leads to %d", ErrForeign, s.Erasure, sw.To.Number)
	}
	kept := map[[16]byte]bool{}
	for _, seg := range sw.Segments {
		kept[seg.New] = true
	}
	delete(kept, [16]byte{})
	ordered := map[hierarchy.VersionRef]bool{}
	for k := range s.Keys() {
		for i := range k.Versions {
			v := &k.Versions[i]
			switch {
			case v.State == wire.StateDestroyed && v.ErasedIn == s.Erasure:
				ordered[versionOf(k, v).Ref()] = true
			case v.State != wire.StateDestroyed && v.BornIn < s.Erasure && !kept[v.Segment]:
				return nil, fmt.Errorf("%w: the erasure switch gives up %s version %d, which nobody ordered destroyed", ErrForeign, k.Name, v.Number)
			}
		}
	}
	for _, ref := range sw.Destroyed {
		if !ordered[ref] {
			return nil, fmt.Errorf("%w: the erasure switch destroys a version that nobody ordered destroyed", ErrForeign)
		}
	}
	granted := func(m members.Member) bool {
		return m.Status == members.StatusActive && slices.ContainsFunc(sw.Grants, func(g hierarchy.Grant) bool { return g.Server == m.ID() })
	}
	if !slices.ContainsFunc(s.Members.Servers, granted) {
		return nil, fmt.Errorf("%w: no server that may serve got the key of erasure epoch %d", ErrForeign, s.Erasure)
	}
	return &sw, nil
}

// receipt records what this server has erased, once per epoch.
func (c *Core) receipt(ctx context.Context) error {
	r := c.keys.Receipt()
	var have authority.Receipt
	c.log.View(func(s *authority.State) { have, _ = s.Receipt(c.id) })
	if r.Epoch.Number <= have.Epoch {
		return nil
	}
	return c.append(ctx, authority.KindReceipt, authority.Receipt{
		Server: c.id, Epoch: r.Epoch.Number, ID: r.Epoch.ID, Waiting: r.Waiting, NextKey: r.NextPublicKey,
	})
}

// sweepDue removes what the newest switch made useless from the slots, when
// every server has given its receipt: once in each run, since a run may have
// ended before it.
func (c *Core) sweepDue(ctx context.Context) error {
	c.execMu.Lock()
	defer c.execMu.Unlock()
	var sw *hierarchy.Switch
	var err error
	all := true
	c.log.View(func(s *authority.State) {
		if s.Erasure == c.swept {
			return
		}
		sw, err = loggedSwitch(s)
		for _, m := range s.Members.Servers {
			if r, _ := s.Receipt(m.ID()); m.Status != members.StatusLeft && r.Epoch < s.Erasure {
				all = false
			}
		}
	})
	if err != nil || sw == nil || !all {
		return err
	}
	if err := c.keys.Sweep(ctx, sw); err != nil {
		return fmt.Errorf("sweep slots: %w", err)
	}
	c.swept = sw.To.Number
	return nil
}

// anchor fixes the audit log's checkpoint in the authority log, if it grew.
func (c *Core) anchor(ctx context.Context) error {
	if c.log == nil {
		return nil
	}
	cp, err := c.audit.Checkpoint()
	if err != nil {
		return err
	}
	var have wire.Checkpoint
	c.log.View(func(s *authority.State) { have, _ = s.Anchor(c.id) })
	if cp.Checkpoint == have || cp.Size == 0 {
		return nil
	}
	return c.append(ctx, authority.KindAnchor, authority.Anchor{Server: c.id, Checkpoint: cp.Checkpoint})
}

// run keeps the server's own duties going until ctx ends.
func (c *Core) run(ctx context.Context) {
	minute, hour := time.NewTicker(time.Minute), time.NewTicker(time.Hour)
	defer minute.Stop()
	defer hour.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-minute.C:
			err = c.execute(ctx)
		case <-hour.C:
			err = c.anchor(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.dutyFailed(ctx, err)
		}
	}
}

// dutyFailed tells the operator, in log, metrics and audit log. The duty is
// tried again every minute.
func (c *Core) dutyFailed(ctx context.Context, err error) {
	c.logger.Error("Duty failed", "error", err)
	c.metrics.alarm("duty")
	c.alarm(ctx, "duty", err.Error())
}

// policyErrors raises the alarm over policies that could not be evaluated, and so
// refused. The leaf comes once a minute: every request would bring one.
func (c *Core) policyErrors(found []string) {
	if len(found) == 0 {
		return
	}
	c.logger.Error("Policy could not be evaluated; the request was refused", "error", found[0], "errors", len(found))
	c.metrics.alarm("policy")
	now, last := int64(c.clock.Boot()), c.alarmed.Load()
	if (last == 0 || now-last >= int64(time.Minute)) && c.alarmed.CompareAndSwap(last, max(now, 1)) {
		leaf := c.alarmLeaf("policy", found[0])
		if _, _, err := c.enter(leaf); err != nil {
			c.logger.Error("Alarm could not be recorded", "error", err)
		}
	}
}

// alarm leaves a leaf that an operator has to look at; if even that fails, the
// log says so already.
func (c *Core) alarm(ctx context.Context, action, reason string) {
	if err := c.record(ctx, c.alarmLeaf(action, reason)); err != nil {
		c.logger.Error("Alarm could not be recorded", "error", err)
	}
}

func (c *Core) alarmLeaf(action, reason string) audit.Leaf {
	leaf := c.leaf(authn.LocalCaller(c.id.String()), audit.Alarm, action)
	leaf.Reason = clip(reason)
	return leaf
}

func vetPolicy(source []byte) error {
	_, err := policy.Parse(source)
	return err
}

// splitPEM returns each PEM block on its own, or the data as it is if it is DER.
func splitPEM(data []byte) [][]byte {
	var out [][]byte
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		out = append(out, pem.EncodeToMemory(block))
	}
	if len(out) == 0 && len(bytes.TrimSpace(data)) > 0 {
		out = append(out, data)
	}
	return out
}
