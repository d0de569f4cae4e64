// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/keyserver/rules"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// release decides every item of a request, derives what is permitted, and
// answers with a grant that is signed and then sealed to the request's one-time
// key.
func (c *Core) release(ctx context.Context, caller *authn.Caller, op *Release) (Answer, error) {
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	sealed, grant, tickets, err := c.makeRelease(ctx, caller, op)
	if err != nil {
		return nil, err
	}
	done()
	// Security: no durable leaf, no answer (T-71).
	if err := c.wait(ctx, tickets...); err != nil {
		return nil, err
	}
	c.holding.Gave(op.Request.Mailbox, grant)
	c.keepStanding(ctx, caller, op, grant)
	return &Released{sealed, grant.Epoch, grant}, nil
}

// makeRelease makes the answer, which may leave once its leaves are durable.
func (c *Core) makeRelease(ctx context.Context, caller *authn.Caller, op *Release) ([]byte, *wire.Grant, []audit.Ticket, error) {
	// Between the facts and the keys the erasure epoch must stay.
	c.switching.RLock()
	defer c.switching.RUnlock()
	// Security: the time before the facts. A release counts as a word issued at its
	// own time; with a later one it would speak for what it has not seen (T-36).
	now := c.Now()
	f := c.collect(caller, op.Request.Items...)
	set, err := c.currentPolicy(f.Policy)
	if err != nil {
		return nil, nil, nil, err
	}
	a := rules.Ask{Now: now, Reason: op.Request.Reason, Route: "native", Native: true}
	if op.Ahead {
		a.Route = "standing"
	}
	out := wire.Release{Keys: make([][]byte, len(op.Request.Items)), SendToken: c.sendToken()}
	defer func() {
		for _, key := range out.Keys {
			secret.Wipe(key)
		}
	}()
	grant := c.newGrant(caller, op, f, a)
	tickets := make([]audit.Ticket, 0, len(op.Request.Items))
	for i, item := range op.Request.Items {
		ticket, err := c.releaseItem(ctx, itemOf{caller, &f, set, a, op, i, item}, grant, &out)
		if err != nil {
			return nil, nil, nil, err
		}
		tickets = append(tickets, ticket)
	}
	if out.Grant, err = wire.Sign(wire.TypeGrant, wire.Marshal(grant), c.signer); err != nil {
		return nil, nil, nil, err
	}
	plain := out.Encode()
	defer secret.Wipe(plain)
	sealed, err := c.o.Padding.Seal(op.Request.HPKE, wire.TypeRelease, wire.ReleaseInfo(op.Sealed), plain)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return sealed, grant, tickets, nil
}

func (c *Core) newGrant(caller *authn.Caller, op *Release, f rules.Facts, a rules.Ask) *wire.Grant {
	return &wire.Grant{
		Type: wire.TypeGrant, Domain: c.o.Domain, Server: c.id, Client: caller.ID,
		HPKE: wire.HPKEHash(op.Request.HPKE), Request: op.Sealed, Epoch: f.Epoch, Head: f.Head, Members: f.Members,
		Issued: a.Now.UnixMilli(), Items: make([]wire.GrantItem, len(op.Request.Items)),
	}
}

// itemOf is one item on its way through the choke point.
type itemOf struct {
	caller *authn.Caller
	f      *rules.Facts
	set    *policyset.Set
	ask    rules.Ask
	op     *Release
	index  int
	item   wire.Item
}

// releaseItem decides and derives one item, enters its leaf and fills its place
// in the grant.
func (c *Core) releaseItem(ctx context.Context, in itemOf, grant *wire.Grant, out *wire.Release) (audit.Ticket, error) {
	r := in.f.Rule(in.set, in.ask, in.item, in.f.Keys[in.index])
	c.policyErrors(r.Errors)
	if r.Allowed && r.Version.Stored {
		r.Allowed, r.Cause, r.Reason = false, CauseState, "the key's material stays on the server; ask it to use the key"
	}
	g := wire.GrantItem{
		Name: in.item.Name, Version: in.item.Version, Purpose: in.item.Purpose, Partition: in.item.Partition,
		Operations: in.item.Operations, Decision: wire.DecisionDenied, Reason: r.Reason,
	}
	if in.item.Name == "" {
		g.KeyID = wire.KeyID(in.item.ID)
	}
	leaf := in.f.Leaf(in.set, in.ask, in.item, r)
	leaf.Request, leaf.Item = in.op.Sealed, uint64(in.index)
	if r.Allowed {
		key, kc, err := c.worker.Derive(ctx, executor.VersionOf(r.Key, r.Version), in.item.Purpose, in.item.Partition)
		if err != nil {
			return audit.Ticket{}, keyError(fmt.Errorf("derive %s version %d: %w", r.Key.Name, r.Version.Number, err))
		}
		out.Keys[in.index] = key
		g.KeyID, g.Name, g.Version, g.State, g.Algorithm = r.Key.ID, r.Key.Name, r.Version.Number, r.Version.State, r.Key.Algorithm
		g.Decision, g.KC = wire.DecisionAllowed, kc[:]
		g.Lease, g.Staleness = uint32(r.Key.Settings.Lease), uint32(r.Key.Settings.Staleness)
		g.Revocation = []wire.RevocationID{r.Key.Revocation, r.Version.Revocation, c.revocationID(in.caller.ID)}
		leaf.KC, leaf.Lease = kc, r.Key.Settings.Lease
	}
	at, ticket, err := c.enter(leaf)
	if err != nil {
		return audit.Ticket{}, err
	}
	g.AuditLog, g.AuditIndex = at.Log, at.Index
	grant.Items[in.index] = g
	return ticket, nil
}

// keyError sorts the hierarchy's errors for doors: a key that can't be read now
// is this server's trouble, not the caller's.
func keyError(err error) error {
	if errors.Is(err, hierarchy.ErrSwitched) || errors.Is(err, hierarchy.ErrWaiting) || errors.Is(err, hierarchy.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
