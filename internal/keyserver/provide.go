// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/authority/keyring"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// doKeys serves what is asked about keys and done with them and to them, by whoever
// policy permits it.
func (c *Core) doKeys(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	switch op := op.(type) {
	case *Use:
		return c.use(ctx, caller, op)
	case *UseAll:
		all, err := c.useAll(ctx, caller, op.Uses)
		return &UsedAll{all}, err
	case *List:
		return c.list(ctx, caller)
	case *Describe:
		return c.describe(ctx, caller, op)
	case *CreateKey:
		return c.createKey(ctx, caller, op)
	case *RotateKey:
		return c.rotateKey(ctx, caller, op)
	case *RetireKey:
		return c.retireKey(ctx, caller, op)
	case *Secret:
		return c.secret(ctx, caller, op)
	case *Token:
		return c.token(ctx, caller, op)
	}
	return nil, &Denial{Caller: caller.ID, Operation: "do this", Key: "the domain", Reason: "it is for admins"}
}

// describe tells what a key is.
func (c *Core) describe(ctx context.Context, caller *authn.Caller, op *Describe) (Answer, error) {
	f := c.collect(caller, wire.Item{Name: op.Name})
	set, err := c.currentPolicy(f.Policy)
	if err != nil {
		return nil, err
	}
	key := f.Keys[0]
	if key == nil { // Security: it is decided like one that is there
		key = &authority.Key{Name: op.Name, Algorithm: authority.AES256}
	}
	operations, r := f.Permitted(set, rules.Ask{Now: c.Now(), Route: op.Route}, key)
	if f.Keys[0] == nil && r.Allowed {
		r.Allowed, r.Cause, r.Reason = false, f.Absence(op.Name), rules.ReasonNone
	}
	if _, err := c.decided(ctx, caller, "describe", op.Route, key, r); err != nil {
		return nil, err
	}
	out := &Described{
		KeyInfo: KeyInfo{Name: key.Name, ID: key.ID, Algorithm: key.Algorithm, Operations: operations}, Disabled: key.Disabled,
		Created: time.UnixMilli(key.Created), Rotation: time.Duration(key.Settings.Rotation) * time.Second,
	}
	if v := key.Current(); v != nil {
		out.Version = v.Number
	}
	for _, v := range key.Versions {
		out.Versions = append(out.Versions, VersionInfo{Number: v.Number, State: v.State, Created: time.UnixMilli(v.Created)})
	}
	return out, nil
}

// decided records a decision that uses no key, and says a refusal.
func (c *Core) decided(ctx context.Context, caller *authn.Caller, action, route string, key *authority.Key, r rules.Ruling) (at audit.Position, err error) {
	c.policyErrors(r.Errors)
	leaf := c.leaf(caller, audit.Decision, action)
	leaf.Resource, leaf.KeyID, leaf.Route, leaf.Policies, leaf.Record = key.Name, key.ID, route, r.Policies, r.Record
	leaf.Decision, leaf.Reason = wire.DecisionDenied, rules.Clip(r.Reason)
	if r.Allowed {
		leaf.Decision, leaf.Reason = wire.DecisionAllowed, ""
	}
	at, ticket, err := c.enter(leaf)
	if err == nil {
		err = c.wait(ctx, ticket)
	}
	if err == nil && !r.Allowed {
		err = &Denial{Caller: caller.ID, Operation: action, Key: key.Name, Reason: r.Reason, Cause: r.Cause}
	}
	return at, err
}

// provision is a change of a key that the server makes for a caller.
type provision struct {
	action, route string
	kind          string
	payload       any
	key           *authority.Key // with an id, unless there is no such key
}

// createKey makes a key that policy permits the caller to make.
func (c *Core) createKey(ctx context.Context, caller *authn.Caller, op *CreateKey) (Answer, error) {
	if !wire.ValidKeyName(op.Name) {
		return nil, fmt.Errorf("%w: the key's name", ErrMalformed)
	}
	p := authority.KeyCreate{
		Name: op.Name, Algorithm: op.Algorithm, Settings: keyring.DefaultSettings(), Reason: rules.By(caller, op.Route),
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return c.provide(ctx, caller, provision{
		action: "key:create", route: op.Route, kind: authority.KindKeyCreate, payload: p,
		key: &authority.Key{ID: p.ID, Name: op.Name, Algorithm: op.Algorithm},
	})
}

func (c *Core) rotateKey(ctx context.Context, caller *authn.Caller, op *RotateKey) (Answer, error) {
	return c.change(ctx, caller, op.Name, provision{action: "key:rotate", route: op.Route, kind: authority.KindKeyRotate})
}

func (c *Core) retireKey(ctx context.Context, caller *authn.Caller, op *RetireKey) (Answer, error) {
	return c.change(ctx, caller, op.Name, provision{action: "key:retire", route: op.Route, kind: authority.KindKeyDisable})
}

// change is a provision about a key that may be there.
func (c *Core) change(ctx context.Context, caller *authn.Caller, name string, p provision) (Answer, error) {
	if p.key = c.collect(caller, wire.Item{Name: name}).Keys[0]; p.key == nil {
		p.key = &authority.Key{Name: name, Algorithm: authority.AES256}
	}
	p.payload = authority.KeyRef{ID: p.key.ID, Reason: rules.By(caller, p.route)}
	return c.provide(ctx, caller, p)
}

// provide decides, records, appends what the server signs, carries it out, and
// records how that ended. It answers Done.
func (c *Core) provide(ctx context.Context, caller *authn.Caller, p provision) (Answer, error) {
	f := c.collect(caller)
	set, err := c.currentPolicy(f.Policy)
	if err != nil {
		return nil, err
	}
	r := f.Permit(set, rules.Ask{Now: c.Now(), Route: p.route}, p.action, p.key)
	at, err := c.decided(ctx, caller, p.action, p.route, p.key, r)
	if err != nil {
		return nil, err
	}
	// Once permitted, it is done: a caller who hangs up must not leave it undecided.
	ctx = context.WithoutCancel(ctx)
	if p.key.ID == (wire.KeyID{}) {
		err = fmt.Errorf("%w: there is no key of this name", authority.ErrRefused)
	} else if err = c.ledger.Append(ctx, p.kind, p.payload); err == nil && p.kind != authority.KindKeyDisable {
		err = c.exec.MakeVersions(ctx, p.key.ID)
	}
	if err := c.ended(ctx, caller, p, at, logError(err)); err != nil {
		return nil, err
	}
	return &Done{}, nil
}

// ended records how something ended that was decided before, and gives its error.
func (c *Core) ended(ctx context.Context, caller *authn.Caller, p provision, at audit.Position, err error) error {
	end := c.leaf(caller, audit.Outcome, p.action)
	end.Of, end.Resource, end.KeyID, end.Route, end.Decision = at, p.key.Name, p.key.ID, p.route, "done"
	if err != nil {
		end.Decision, end.Reason = "failed", rules.Clip(err.Error())
	}
	if rerr := c.record(ctx, end); rerr != nil {
		return rerr
	}
	return err
}
