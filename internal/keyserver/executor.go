// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"claviger/internal/audit"
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
		return c.destroyDue(ctx)
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
	return errors.Join(append(errs, c.destroyDue(ctx), c.receipt(ctx), c.writeBudget(false))...)
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
	return n > 0 && k.Settings.Rotation > 0 && now >= k.Versions[n-1].Created+int64(k.Settings.Rotation)*1000
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
	if err := c.append(ctx, authority.KindErasure, entry); err != nil {
		return fmt.Errorf("switch erasure epoch: %w", err)
	}
	if _, err := c.keys.Erase(ctx, sw); err != nil {
		return fmt.Errorf("erase epoch %d: %w", sw.From.Number, err)
	}
	c.logger.Info("Erased an epoch", "epoch", sw.From.Number, "versions", len(refs))
	if err := c.receipt(ctx); err != nil {
		return err
	}
	return c.sweep(ctx, sw)
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

// sweep removes what the switch made useless from the slots, when every server
// has given its receipt.
func (c *Core) sweep(ctx context.Context, sw *hierarchy.Switch) error {
	all := true
	c.log.View(func(s *authority.State) {
		for _, m := range s.Members.Servers {
			if r, _ := s.Receipt(m.ID()); m.Status != members.StatusLeft && r.Epoch < sw.To.Number {
				all = false
			}
		}
	})
	if !all {
		return nil
	}
	return c.keys.Sweep(ctx, sw)
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
			c.logger.Error("Duty failed", "error", err)
			c.metrics.alarm("duty")
			c.alarm(ctx, clip(err.Error()))
		}
	}
}

// alarm leaves a leaf that an operator has to look at; if even that fails, the
// log says so already.
func (c *Core) alarm(ctx context.Context, reason string) {
	leaf := audit.Leaf{Time: c.now().UnixMilli(), Kind: audit.Alarm, Action: "duty", Reason: reason, Caller: "local/" + c.id.String()}
	if err := c.record(ctx, leaf); err != nil {
		c.logger.Error("Alarm could not be recorded", "error", err)
	}
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
