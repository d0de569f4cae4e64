// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/authn"
	"claviger/internal/keyserver/standing"
	"claviger/internal/wire"
)

func (c *Core) openStanding(ctx context.Context) (err error) {
	c.ahead, err = standing.Open(ctx, standing.Options{
		Store: c.store, Seal: c.seals.Slot, Domain: c.o.Domain, Server: c.id, Log: c.log, Clock: c.clock, Logger: c.logger,
		Release: c.releaseAhead, Deliver: c.o.Deliver,
	})
	return err
}

// Standing is how many standing requests are kept.
func (c *Core) Standing() int { return c.ahead.Count() }

// keepStanding keeps the standing part of a request that was answered. Its answer
// stands whether that succeeds or not.
func (c *Core) keepStanding(ctx context.Context, caller *authn.Caller, op *Release, grant *wire.Grant) {
	if len(op.Request.Standing) == 0 || op.Ahead || !standing.Permits(grant) {
		return
	}
	req := op.Request
	err := c.ahead.Keep(ctx, standing.Request{
		Client: caller.ID, Chain: caller.Chain, Mailbox: req.Mailbox, Sealed: op.Sealed, Items: req.Items, Reason: req.Reason,
		Until: req.Until, Keys: req.Standing, Told: standing.Versions(grant),
	}, caller.NotAfter.UnixMilli())
	if err != nil {
		c.logger.Warn("A standing request was not kept", "error", err)
	}
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
		err = fmt.Errorf("%w: %w", standing.ErrEnded, err)
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
	return standing.NewMade(out.Sealed, out.Grant, r.Until), nil
}
