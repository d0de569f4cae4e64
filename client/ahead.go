// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/internal/pace"
	"claviger/internal/wire"
)

// aheadWait bounds one exchange for keys ahead of need.
const aheadWait = 30 * time.Second

// prefetch asks ahead of need, in the background, once the epoch has moved: for
// all leases of current versions at once, because a rotation may be why. It waits a
// while that is drawn at random, because every client hears of it now, and longer if
// the last such asks brought nothing new. Who needs one meanwhile asks by himself.
func (c *Client) prefetch() {
	newest := c.view.Mark().Epoch
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.fetching || c.fetched.Compare(newest) >= 0 || len(c.outdated(newest)) == 0 {
		return
	}
	c.fetching, c.fetched = true, newest
	fruitless := c.fruitless
	c.run(func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(pace.News(fruitless, pace.Random())):
		}
		ctx, cancel := context.WithTimeout(ctx, aheadWait)
		defer cancel()
		// A failure costs nothing: the next use asks, and the lease at hand serves on
		// while it counts.
		changed, _ := c.fetchAhead(ctx, c.outdated(newest))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fetching = false
		if c.fruitless++; changed {
			c.fruitless = 0
		}
	})
}

// replaceIfDue asks for a lease that was just used again, in the background, before
// it ends: at a moment of its own, so that those who began together don't come back
// together for as long as they run. One at a time, and after a failure not before
// the next minute.
func (c *Client) replaceIfDue(ask leases.Ask, l *leases.Lease) {
	if l.Age() < pace.Refresh(time.Duration(l.Item.Lease)*time.Second, pace.Of(l.Grant[:])) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.replacing.Take(c.options.Clock.Boot()) {
		return
	}
	c.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, aheadWait)
		defer cancel()
		from := time.Duration(0)
		if _, err := c.fetchAhead(ctx, []leases.Ask{ask}); err != nil {
			from = c.options.Clock.Boot() + renewPause
		}
		c.replacing.Done(from)
	})
}

// outdated are the asks for current versions that were answered before an epoch,
// those used last first.
func (c *Client) outdated(newest wire.Epoch) []leases.Ask {
	return c.cache.Asks(wire.MaxItems, func(ask leases.Ask, l *leases.Lease) bool {
		return ask.Version == 0 && ask.Name != "" && l.Epoch.Compare(newest) < 0
	})
}

// fetchAhead gets what is current now, and reports whether that is something new. What
// is denied is no longer at hand.
func (c *Client) fetchAhead(ctx context.Context, asks []leases.Ask) (changed bool, err error) {
	if len(asks) == 0 {
		return false, nil
	}
	answer, err := c.release(ctx, itemsOf(asks))
	if err != nil {
		return false, err
	}
	return c.keepAll(answer, asks), nil
}

// keepAll puts what was answered in place of what is at hand, and reports whether it
// is something new. It takes the answer.
func (c *Client) keepAll(answer *trust.Answer, asks []leases.Ask) (changed bool) {
	defer answer.Wipe()
	for i, ask := range asks {
		l, err := c.accept(answer, i, ask)
		at := c.cache.Peek(ask)
		changed = changed || err != nil || at == nil || at.Item.Version != l.Item.Version
		if err == nil {
			c.cache.Put(ask, l)
		} else if isDenied(err) {
			c.cache.Drop(ask)
		}
	}
	return changed
}
