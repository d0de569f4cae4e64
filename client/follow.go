// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
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
	c.net.Follow(ctx, func() {
		c.obey()
		c.prefetch()
	})
}

// obey ends the leases that the newest believed statement revokes, and tells those
// who gave them.
func (c *Client) obey() {
	news := c.view.News()
	c.cache.DropIf(func(l *leases.Lease) bool { return news.Revokes(l.Item.Revocation, l.Epoch) })
	c.dropFenced()
	c.owe(news)
	c.pay()
}
