// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// aheadWait bounds one exchange for keys ahead of need.
const aheadWait = 30 * time.Second

// prefetch asks ahead of need, in the background, once the epoch has moved: for
// all leases of current versions at once, because a rotation may be why. Who needs
// one meanwhile asks by himself.
func (c *Client) prefetch() {
	newest := c.view.Mark().Epoch
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.fetching || c.fetched.Compare(newest) >= 0 || len(c.outdated(newest)) == 0 {
		return
	}
	c.fetching, c.fetched = true, newest
	c.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, aheadWait)
		defer cancel()
		// A failure costs nothing: the next use asks, and the lease at hand serves on
		// while it counts.
		_ = c.fetchAhead(ctx, c.outdated(newest))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fetching = false
	})
}

// outdated are the asks for current versions that were answered before an epoch,
// those used last first.
func (c *Client) outdated(newest wire.Epoch) []leases.Ask {
	return c.cache.Asks(wire.MaxItems, func(ask leases.Ask, l *leases.Lease) bool {
		return ask.Version == 0 && ask.Name != "" && l.Epoch.Compare(newest) < 0
	})
}

// fetchAhead gets what is current now. What is denied is no longer at hand.
func (c *Client) fetchAhead(ctx context.Context, asks []leases.Ask) error {
	if len(asks) == 0 {
		return nil
	}
	answer, err := c.release(ctx, itemsOf(asks))
	if err != nil {
		return err
	}
	c.keepAll(answer, asks)
	return nil
}

// keepAll puts what was answered in place of what is at hand. It takes the answer.
func (c *Client) keepAll(answer *trust.Answer, asks []leases.Ask) {
	defer answer.Wipe()
	for i, ask := range asks {
		l, err := c.accept(answer, i, ask)
		if err == nil {
			c.cache.Put(ask, l)
		} else if isDenied(err) {
			c.cache.Drop(ask)
		}
	}
}
