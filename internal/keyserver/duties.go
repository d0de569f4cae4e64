// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/rules"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// execute does everything that is due: what the log orders, and what keeps the
// server itself fresh.
func (c *Core) execute(ctx context.Context) error {
	var err error
	if c.hearsay.Err() == nil { // else nothing more is built on this log
		err = c.exec.Execute(ctx)
	}
	return errors.Join(err, c.own.Refresh(), c.budget.Write(c.audit, false))
}

func (c *Core) allKeys() (out []*authority.Key) {
	c.log.View(func(s *authority.State) { out = slices.AppendSeq(make([]*authority.Key, 0, s.KeyCount()), s.Keys()) })
	return out
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
	return c.ledger.Anchor(ctx, c.id, cp.Checkpoint)
}

// sweepEvery is how often it is looked who has gone dark by itself.
const sweepEvery = 5 * time.Second

// tell has what was revoked signed at once, whether anybody asks or not: also
// after a crash between the record and the statement.
func (c *Core) tell() error {
	c.holding.Hear(c.epoch())
	if !c.holding.Untold() || c.Usable() != nil {
		return nil
	}
	_, err := c.own.Statement()
	return err
}

// run keeps the server's own duties going until ctx ends.
func (c *Core) run(ctx context.Context) {
	minute, hour, sweep := time.NewTicker(time.Minute), time.NewTicker(time.Hour), time.NewTicker(sweepEvery)
	defer minute.Stop()
	defer hour.Stop()
	defer sweep.Stop()
	var once sync.WaitGroup
	once.Go(func() { c.secrets.Sweep(ctx) })
	defer once.Wait()
	moved := c.Changed()
	err := c.tell()
	for {
		if err != nil && ctx.Err() == nil {
			c.dutyFailed(ctx, err)
		}
		err = nil
		select {
		case <-ctx.Done():
			return
		case <-minute.C:
			err = c.execute(ctx)
		case <-hour.C:
			err = errors.Join(c.anchor(ctx), c.materials().Sweep(ctx))
		case <-sweep.C:
			c.holding.Sweep()
			c.hearsay.Look(ctx)
		case <-c.hearsay.News():
			c.hearsay.Look(ctx)
		case <-moved:
			moved = c.Changed() // before the statement is made, so that no change is missed
			err = c.tell()
		}
	}
}

// dutyFailed tells the operator, in log, metrics and audit log. The duty is
// tried again every minute.
func (c *Core) dutyFailed(ctx context.Context, err error) {
	c.logger.Error("Duty failed", "error", err)
	c.o.Meter.Alarm("duty")
	c.alarm(ctx, "duty", err.Error())
}

// recovering raises the alarm over a recovery: whoever still is an admin has to
// hear of it before it takes effect.
func (c *Core) recovering(ctx context.Context, body *wire.Body, at wire.Epoch) {
	what := "the recovery quorum announces other authority keys"
	if body.Kind == members.KindRecover {
		what = "the recovery quorum replaced the authority keys"
	}
	c.logger.Error("Recovery", "what", what, "record", at.String())
	c.o.Meter.Alarm("recovery")
	c.alarm(ctx, "recovery", what+": record "+at.String())
}

// policyErrors raises the alarm over policies that could not be evaluated, and so
// refused. The leaf comes once a minute: every request would bring one.
func (c *Core) policyErrors(found []string) {
	if len(found) == 0 {
		return
	}
	c.logger.Error("Policy could not be evaluated; the request was refused", "error", found[0], "errors", len(found))
	c.o.Meter.Alarm("policy")
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
	leaf.Reason = rules.Clip(reason)
	return leaf
}
