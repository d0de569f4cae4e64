// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// use has the server use a key for one item.
func (c *Core) use(ctx context.Context, caller *authn.Caller, op *Use) (Answer, error) {
	all, err := c.useAll(ctx, caller, []*Use{op})
	if err != nil {
		return nil, err
	}
	if all[0].Err != nil {
		return nil, all[0].Err
	}
	return all[0].Used, nil
}

// useAll decides, records and does what some items ask for: with the facts of one
// moment, in one turn, and with one sync of the audit log for all. An item fails
// alone; an error is that of all of them.
func (c *Core) useAll(ctx context.Context, caller *authn.Caller, ops []*Use) ([]UseResult, error) {
	if len(ops) == 0 || len(ops) > MaxTogether {
		return nil, fmt.Errorf("%w: 1 to %d uses", ErrMalformed, MaxTogether)
	}
	out, sound := make([]UseResult, len(ops)), make([]askedUse, 0, len(ops))
	for i, op := range ops {
		item, err := itemOfUse(op)
		if out[i].Err = err; err == nil {
			sound = append(sound, askedUse{op, item, &out[i]})
		}
	}
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	tickets, err := c.decideUses(ctx, caller, sound)
	if err != nil {
		return nil, err
	}
	done()
	// Security: no durable leaf, no answer, and no refusal either (T-71).
	if err := c.wait(ctx, tickets...); err != nil {
		return nil, err
	}
	return out, nil
}

// askedUse is a use that can be decided, and the place of its result.
type askedUse struct {
	op   *Use
	item wire.Item
	out  *UseResult
}

// itemOfUse is what a use asks policy for.
func itemOfUse(op *Use) (wire.Item, error) {
	action, purpose, ok := keywork.Named(op.Operation)
	if !ok {
		return wire.Item{}, fmt.Errorf("%w: unknown operation", ErrMalformed)
	}
	item := op.Item
	item.Operations, item.Purpose = []string{action}, purpose
	var err error
	switch {
	case op.Operation == "decrypt":
		err = keywork.FromCiphertext(&item, op.Input)
	case op.Operation == "open" && item.Version == 0:
		err = errors.New("which version is to open it isn't said")
	}
	if err == nil {
		err = item.Check()
	}
	if err != nil {
		return item, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return item, nil
}

// decideUses decides, records, acts, and fills in the results.
func (c *Core) decideUses(ctx context.Context, caller *authn.Caller, uses []askedUse) ([]audit.Ticket, error) {
	c.switching.RLock()
	defer c.switching.RUnlock()
	items := make([]wire.Item, len(uses))
	for i := range uses {
		items[i] = uses[i].item
	}
	f := c.collect(caller, items...)
	set, err := c.currentPolicy(f.Policy)
	if err != nil {
		return nil, err
	}
	tickets := make([]audit.Ticket, 0, len(uses))
	for i, u := range uses {
		a := rules.Ask{Now: c.Now(), Reason: u.op.Reason, Route: u.op.Route, Asked: u.op.Asked, Native: u.op.Operation == "hand-over"}
		r := f.Rule(set, a, u.item, f.Keys[i])
		c.policyErrors(r.Errors)
		leaf := f.Leaf(set, a, u.item, r)
		leaf.Request, leaf.Item = u.op.Request, u.op.Index
		_, ticket, err := c.enter(leaf)
		if err == nil {
			tickets = append(tickets, ticket)
			u.out.Used, err = c.act(ctx, caller, u.op, r, u.item)
		}
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		u.out.Err = err
	}
	return tickets, nil
}

// act does what was decided, once its leaf is entered.
func (c *Core) act(ctx context.Context, caller *authn.Caller, op *Use, r rules.Ruling, item wire.Item) (*Used, error) {
	if !r.Allowed {
		return nil, denied(caller, item, r)
	}
	out := &Used{Key: r.Key.Name, ID: r.Key.ID, Version: r.Version.Number}
	var err error
	out.Output, out.Verified, err = c.worker.Do(ctx, keywork.Task{
		Operation: op.Operation, Version: executor.VersionOf(r.Key, r.Version), Partition: item.Partition,
		Input: op.Input, Proof: op.Proof, Context: op.Context, Scheme: op.Scheme, Prehashed: op.Prehashed,
	})
	if errors.Is(err, keywork.ErrInput) {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, keyError(err)
	}
	return out, nil
}

// list says which keys a workload may use: it has seen nothing else of the
// domain, so it can't list what it may not use.
func (c *Core) list(ctx context.Context, caller *authn.Caller) (Answer, error) {
	all := c.allKeys()
	f := c.collect(caller)
	set, err := c.currentPolicy(f.Policy)
	if err != nil {
		return nil, err
	}
	leaf := c.leaf(caller, audit.Decision, "list")
	leaf.Decision, leaf.Reason = wire.DecisionAllowed, "what the caller may use"
	if why := f.Barred(); why != "" {
		leaf.Decision, leaf.Reason = wire.DecisionDenied, why
	}
	if err := c.record(ctx, leaf); err != nil {
		return nil, err
	}
	if !leaf.Allowed() {
		return nil, &Denial{Caller: caller.ID, Operation: "list", Key: "keys", Reason: leaf.Reason, Cause: CauseRevoked}
	}
	out := &Listed{}
	a := rules.Ask{Now: c.Now(), Route: "native"}
	for _, k := range all {
		info := KeyInfo{Name: k.Name, ID: k.ID, Algorithm: k.Algorithm}
		for _, op := range rules.OperationsOf(k.Algorithm) {
			item := wire.Item{Name: k.Name, Purpose: op.Purpose, Operations: []string{op.Name}}
			if r := f.Rule(set, a, item, k); r.Allowed {
				info.Operations, info.Version = append(info.Operations, op.Name), r.Version.Number
			}
		}
		if len(info.Operations) > 0 {
			out.Keys = append(out.Keys, info)
		}
	}
	return out, nil
}
