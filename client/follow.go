// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"sync"
	"time"

	"claviger/client/internal/leases"
)

// followDelay spares who needs a key for a moment a connection that lasts. The
// first statement comes with the connection, so nothing is missed by it.
const followDelay = 200 * time.Millisecond

// startFollowing has somebody listen to statements as they are made, while leases
// are at hand. The caller holds c.mu.
func (c *Client) startFollowing() {
	if c.closed || c.unfollow != nil {
		return
	}
	c.unfollow = c.run(c.follow)
}

// stopFollowing ends that. The caller holds c.mu.
func (c *Client) stopFollowing() {
	if c.unfollow != nil {
		c.unfollow()
		c.unfollow = nil
	}
}

// follow goes on until ctx ends. News that it misses is asked for when a key is
// used.
func (c *Client) follow(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(followDelay):
	}
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { c.standby(ctx) })
	c.net.Follow(ctx, func() {
		c.obey()
		c.prefetch()
	})
}

// obey ends the leases that the newest believed statement revokes, and tells those
// who gave them.
func (c *Client) obey() {
	news := c.view.News()
	c.dropIf(func(l *leases.Lease) bool { return news.Revokes(l.Item.Revocation, l.Epoch) })
	c.dropFenced()
	c.promote()
	c.owe(news)
	c.pay()
}

// dropIf ends leases, also those that may not be used yet.
func (c *Client) dropIf(end func(*leases.Lease) bool) {
	c.cache.DropIf(end)
	c.waiting.DropIf(end)
}
