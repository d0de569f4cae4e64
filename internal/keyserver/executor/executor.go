// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Options of an Executor; all are required.
type Options struct {
	Server wire.ServerID
	Ledger *Ledger
	Keys   *hierarchy.Hierarchy
	Clock  clock.Clock
	Logger *slog.Logger
	// Switching is held while the erasure epoch changes, in the log and in the
	// hierarchy: by the one a key lies where by the other it doesn't, yet.
	Switching sync.Locker
	// Erased is called under Switching once the erasure epoch may have changed: no
	// key that was derived before may stay in memory.
	Erased func()
}

// Executor carries out what the log orders. It is safe for concurrent use.
type Executor struct {
	o     Options
	mu    sync.Mutex // one makes versions or erases
	swept uint64     // erasure epoch whose leftovers are swept; guarded by mu
}

// New returns an executor that has done nothing yet.
func New(o Options) *Executor { return &Executor{o: o} }

// CarryOut does at once what a body that was just applied asks of this server.
func (e *Executor) CarryOut(ctx context.Context, body *wire.Body) error {
	switch body.Kind {
	case authority.KindKeyCreate:
		var p authority.KeyCreate
		if err := wire.Unmarshal(body.Payload, &p, wire.MaxBody); err != nil {
			return err
		}
		return e.MakeVersions(ctx, p.ID)
	case authority.KindKeyRotate:
		var p authority.KeyRef
		if err := wire.Unmarshal(body.Payload, &p, wire.MaxBody); err != nil {
			return err
		}
		return e.MakeVersions(ctx, p.ID)
	case authority.KindKeyDestroy:
		return errors.Join(e.destroyDue(ctx), e.sweepDue(ctx))
	}
	return nil
}

// Execute does everything that is due: versions, destructions, receipts.
func (e *Executor) Execute(ctx context.Context) error {
	var errs []error
	now := e.now()
	var due []wire.KeyID
	e.o.Ledger.View(func(s *authority.State) {
		for k := range s.ScanKeys() {
			if versionDue(k, now) {
				due = append(due, k.ID)
			}
		}
	})
	for _, id := range due {
		errs = append(errs, e.MakeVersions(ctx, id))
	}
	// The receipt first: a new erasure needs the one of the last.
	return errors.Join(append(errs, e.receipt(ctx), e.destroyDue(ctx), e.sweepDue(ctx))...)
}

func (e *Executor) now() int64 { return e.o.Clock.Now().UnixMilli() }

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

// MakeVersions makes a key's next version until none is due.
func (e *Executor) MakeVersions(ctx context.Context, id wire.KeyID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		var k *authority.Key
		e.o.Ledger.View(func(s *authority.State) { k = s.Key(id) })
		if k == nil || !versionDue(k, e.now()) {
			return nil
		}
		if err := e.makeVersion(ctx, k); err != nil {
			return fmt.Errorf("make version %d of %s: %w", len(k.Versions)+1, k.Name, err)
		}
	}
}

func (e *Executor) makeVersion(ctx context.Context, k *authority.Key) error {
	v, err := e.o.Keys.NewVersion(ctx, k.ID, uint64(len(k.Versions))+1, k.Algorithm)
	if err != nil {
		return err
	}
	entry := authority.KeyVersion{
		ID: k.ID, Number: v.Number, RootGeneration: v.RootGeneration, Segment: v.Segment,
		ErasureEpoch: v.ErasureEpoch, VC: v.VC, Stored: v.Stored,
	}
	if v.Stored {
		// Derived from no root, but born under one: the log names it for all alike.
		e.o.Ledger.View(func(s *authority.State) { entry.RootGeneration = s.Members.Genesis.RootGeneration })
	}
	rand.Read(entry.Revocation[:])
	return e.o.Ledger.Append(ctx, authority.KindKeyVersion, entry)
}

// destroyDue carries out the destruction orders whose waiting time is over, all
// in one switch to the next erasure epoch.
func (e *Executor) destroyDue(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var plan hierarchy.ErasurePlan
	var refs []authority.VersionRef
	now := e.now()
	due := func(v authority.Version) bool {
		return v.State != wire.StateDestroyed && v.DestroyAt != 0 && v.DestroyAt <= now
	}
	e.o.Ledger.View(func(s *authority.State) {
		if !anyVersion(s, due) {
			return // every minute but few: a plan names all that lives
		}
		for k := range s.Keys() {
			for i := range k.Versions {
				v := &k.Versions[i]
				if v.State == wire.StateDestroyed {
					continue
				}
				hv := VersionOf(k, v)
				plan.Versions = append(plan.Versions, hv)
				if due(*v) {
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
	return e.erase(ctx, plan, refs)
}

func anyVersion(s *authority.State, is func(authority.Version) bool) bool {
	for k := range s.ScanKeys() {
		if slices.ContainsFunc(k.Versions, is) {
			return true
		}
	}
	return false
}

func epochOf(s *authority.State, m members.Member) uint64 {
	r, _ := s.Receipt(m.ID())
	return r.Epoch
}

func (e *Executor) erase(ctx context.Context, plan hierarchy.ErasurePlan, refs []authority.VersionRef) error {
	sw, err := e.o.Keys.PlanErasure(ctx, plan)
	if err != nil {
		return fmt.Errorf("plan erasure: %w", err)
	}
	entry := authority.Erasure{Epoch: sw.To.Number, Versions: refs, Switch: wire.Marshal(sw)}
	for _, seg := range sw.Segments {
		entry.Segments = append(entry.Segments, authority.SegmentChange{Old: seg.Old, New: seg.New})
	}
	if err := e.switchEpoch(ctx, sw, entry, plan.Versions); err != nil {
		return err
	}
	e.o.Logger.Info("Erased an epoch", "epoch", sw.From.Number, "versions", len(refs))
	return e.receipt(ctx)
}

// switchEpoch records the switch and carries it out. Nobody decides between the
// two: by the log a key would lie in an epoch that this server isn't in yet.
func (e *Executor) switchEpoch(ctx context.Context, sw *hierarchy.Switch, entry authority.Erasure, planned []hierarchy.Version) error {
	e.o.Switching.Lock()
	defer e.o.Switching.Unlock()
	known := make(map[hierarchy.VersionRef]bool, len(planned))
	for _, v := range planned {
		known[v.Ref()] = true
	}
	covered := func(s *authority.State) error {
		for k := range s.Keys() {
			for i := range k.Versions {
				v := VersionOf(k, &k.Versions[i])
				if k.Versions[i].State != wire.StateDestroyed && !known[v.Ref()] && !sw.Covers(v) {
					return fmt.Errorf("%w: %s version %d came after the plan", hierarchy.ErrSwitched, k.Name, v.Number)
				}
			}
		}
		return nil
	}
	if err := e.o.Ledger.AppendIf(ctx, authority.KindErasure, entry, covered); err != nil {
		return fmt.Errorf("switch erasure epoch: %w", err)
	}
	defer e.o.Erased()
	if _, err := e.o.Keys.Erase(ctx, sw); err != nil {
		return fmt.Errorf("erase epoch %d: %w", sw.From.Number, err)
	}
	return nil
}

// receipt records what this server has erased, once per epoch.
func (e *Executor) receipt(ctx context.Context) error {
	r := e.o.Keys.Receipt()
	var have authority.Receipt
	e.o.Ledger.View(func(s *authority.State) { have, _ = s.Receipt(e.o.Server) })
	if r.Epoch.Number <= have.Epoch {
		return nil
	}
	return e.o.Ledger.Append(ctx, authority.KindReceipt, authority.Receipt{
		Server: e.o.Server, Epoch: r.Epoch.Number, ID: r.Epoch.ID, Waiting: r.Waiting, NextKey: r.NextPublicKey,
	})
}

// sweepDue removes what the newest switch made useless from the slots, when
// every server has given its receipt: once in each run, since a run may have
// ended before it.
func (e *Executor) sweepDue(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var sw *hierarchy.Switch
	var err error
	all := true
	e.o.Ledger.View(func(s *authority.State) {
		if s.Erasure == e.swept {
			return
		}
		sw, err = LoggedSwitch(s)
		for _, m := range s.Members.Servers {
			if r, _ := s.Receipt(m.ID()); m.Status != members.StatusLeft && r.Epoch < s.Erasure {
				all = false
			}
		}
	})
	if err != nil || sw == nil || !all {
		return err
	}
	if err := e.o.Keys.Sweep(ctx, sw); err != nil {
		return fmt.Errorf("sweep slots: %w", err)
	}
	e.swept = sw.To.Number
	return nil
}
