// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger/client/internal/leases"
	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
)

const (
	// followDelay spares who needs a key for a moment a connection that lasts. The
	// first statement comes with the connection, so nothing is missed by it.
	followDelay = 200 * time.Millisecond
	// followSilence is how old the newest statement may become before another way is
	// tried: whoever carries statements may swallow them.
	followSilence = 75 * time.Second
)

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

// follow goes on until ctx ends: by the way of the last answer first, and after
// each end by the next. News that it misses is asked for when a key is used.
func (c *Client) follow(ctx context.Context) {
	ways := slices.DeleteFunc(c.net.order(), func(w *way) bool {
		_, ok := w.carrier.(follower)
		return !ok
	})
	select {
	case <-ctx.Done():
	case <-time.After(followDelay):
	}
	if len(ways) == 0 {
		return
	}
	turn := -1
	_ = transport.Again(ctx, transport.Pauses{}, func(ctx context.Context, works func()) error {
		turn++
		return c.followBy(ctx, ways[turn%len(ways)], works)
	}, nil)
}

// followBy listens by one way until it ends, or shows nothing new for too long.
func (c *Client) followBy(ctx context.Context, w *way, works func()) error {
	if _, err := c.net.introducedOne(ctx, w); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(followSilence, func() { cancel(errOldNews) })
	defer silence.Stop()
	for data, err := range w.carrier.(follower).Follow(ctx) {
		if errors.Is(err, tlscert.ErrPin) {
			return errors.Join(err, c.net.introducedAgain(ctx, w))
		}
		if err != nil {
			return err
		}
		if c.net.statement(ctx, w, data) != nil {
			continue // a lie, or old: it counts for nothing
		}
		c.obey()
		c.prefetch()
		// Security: an old statement, shown again and again, must not keep this from
		// looking for somebody who has a newer one (T-16).
		if age, ok := c.view.Told(); ok && age < followSilence {
			works()
			silence.Reset(followSilence - age)
		}
	}
	return nil
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
