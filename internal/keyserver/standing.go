// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"claviger/internal/authn"
	"claviger/internal/keyserver/standing"
	"claviger/internal/wire"
)

// maxParcelLife is how long relays keep a parcel (docs/spec/relay.md, section 4).
const maxParcelLife = 48 * time.Hour

func (c *Core) openStanding(ctx context.Context) (err error) {
	deliver := c.o.Deliver
	if deliver == nil {
		deliver = func(context.Context, standing.Parcel) error { return errors.New("this server stands at no relay") }
	}
	c.standing, err = standing.Open(ctx, standing.Options{
		Store: c.store, Seal: c.seals.Slot, Domain: c.o.Domain, Server: c.id, Log: c.log, Clock: c.clock, Logger: c.logger,
		Release: c.releaseAhead, Deliver: deliver,
	})
	return err
}

// Standing is how many standing requests are kept.
func (c *Core) Standing() int { return c.standing.Count() }

// keepStanding keeps the standing part of a request that was answered. Its answer
// stands whether that succeeds or not. A server at no relay can't deliver.
func (c *Core) keepStanding(ctx context.Context, caller *authn.Caller, op *Release, grant *wire.Grant) {
	if len(op.Request.Standing) == 0 || op.Ahead || c.o.Deliver == nil || !permits(grant) {
		return
	}
	req := op.Request
	err := c.standing.Keep(ctx, standing.Request{
		Client: caller.ID, Chain: caller.Chain, Mailbox: req.Mailbox, Sealed: op.Sealed, Items: req.Items, Reason: req.Reason,
		Until: req.Until, Keys: req.Standing, Told: versions(grant),
	}, caller.NotAfter.UnixMilli())
	if err != nil {
		c.logger.Warn("A standing request was not kept", "error", err)
	}
}

// permits reports whether a grant gives anything: who may have nothing can't fill
// the store.
func permits(grant *wire.Grant) bool {
	for _, v := range versions(grant) {
		if v != 0 {
			return true
		}
	}
	return false
}

// versions are those that a grant gives, 0 for an item that it denies.
func versions(grant *wire.Grant) []uint64 {
	out := make([]uint64, len(grant.Items))
	for n, i := range grant.Items {
		if i.Decision == wire.DecisionAllowed {
			out[n] = i.Version
		}
	}
	return out
}

// releaseAhead has a release of this moment decided for a standing request, as for
// any other: the certificate is judged anew, and nothing that was true when it was
// made is taken over. It brings no evidence.
func (c *Core) releaseAhead(ctx context.Context, r *standing.Request, key []byte) (standing.Made, error) {
	trust, err := c.Trust()
	if err != nil {
		return standing.Made{}, err
	}
	caller, err := trust.Again(r.Client, r.Chain, c.Now())
	if errors.Is(err, authn.ErrRefused) {
		return standing.Made{}, fmt.Errorf("%w: %w", standing.ErrEnded, err)
	}
	if err != nil {
		return standing.Made{}, err
	}
	a, err := c.Do(ctx, caller, &Release{Sealed: r.Sealed, Ahead: true, Request: &wire.Request{
		Type: wire.TypeRequest, Domain: c.o.Domain, Client: r.Client, HPKE: key, Items: r.Items, Reason: r.Reason, Mailbox: r.Mailbox,
	}})
	if err != nil {
		return standing.Made{}, err
	}
	out := a.(*Released)
	made := standing.Made{Versions: versions(out.Grant), Expires: min(out.Grant.Issued+maxParcelLife.Milliseconds(), r.Until)}
	if permits(out.Grant) {
		made.Sealed = out.Sealed
	}
	return made, nil
}
