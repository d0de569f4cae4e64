// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/standing"
	"claviger/client/internal/trust"
	"claviger/client/internal/ways"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

const (
	// standAfter is how long leases are at hand before the first standing request:
	// programs that end at once have no use for one.
	standAfter = 5 * time.Second
	// standEvery is how often it is looked at, and standMost how seldom, at least,
	// while nobody can be reached.
	standEvery = time.Minute
	standMost  = 16 * time.Minute
)

// standby keeps a standing request with the servers and takes what comes of it, until
// ctx ends, where relays or directories lead to a mailbox.
func (c *Client) standby(ctx context.Context) {
	if !c.net.HasInbox() {
		return
	}
	requests := standing.New(c.view.Asked)
	defer requests.Forget()
	var receiving sync.WaitGroup
	defer receiving.Wait()
	taken := make(chan struct{}, 1)
	listen := sync.OnceFunc(func() {
		receiving.Go(func() {
			c.net.Receive(ctx, c.mailbox, func(p ways.Parcel) error {
				err := c.take(requests, p)
				select {
				case taken <- struct{}{}:
				default:
				}
				return err
			})
		})
	})
	for pause := standAfter; ctx.Err() == nil; {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-taken:
		case <-timer.C:
		}
		timer.Stop()
		pause = max(pause, standEvery)
		asks := c.current()
		if ctx.Err() != nil || !requests.Due(asks) {
			continue
		}
		if c.stand(ctx, requests, asks) != nil {
			pause = min(2*pause, standMost)
			continue
		}
		pause = standEvery
		listen()
	}
}

// current are the asks for current versions whose leases are at hand, those used last
// first.
func (c *Client) current() []leases.Ask {
	return c.cache.Asks(wire.MaxItems, func(ask leases.Ask, l *leases.Lease) bool {
		return ask.Version == 0 && ask.Name != "" && c.lasts(l)
	})
}

// stand makes a standing request. It is answered like any other.
func (c *Client) stand(ctx context.Context, requests *standing.Requests, asks []leases.Ask) error {
	ctx, cancel := context.WithTimeout(ctx, aheadWait)
	defer cancel()
	answer, asked, err := c.ask(ctx, itemsOf(asks), func(q *trust.Question) func(*trust.Asked) {
		keys := standing.NewKeys()
		q.Standing, q.StandFor = keys.Public(), standing.Life
		return func(a *trust.Asked) { requests.Made(standing.Request{Asked: a, Asks: asks, Keys: keys}) }
	})
	if err != nil {
		return err
	}
	requests.Stands(asked)
	c.keepAll(answer, asks)
	return nil
}

var errNotOurs = errors.New("a parcel fits none of the one-time keys that are left")

// take takes in a parcel. What it denies is left as it is: it was decided without
// evidence, for another route.
func (c *Client) take(requests *standing.Requests, p ways.Parcel) error {
	opened, ok := requests.Open(p.Sealed)
	if !ok {
		return errNotOurs
	}
	defer secret.Wipe(opened.Plain)
	answer, err := c.view.Ahead(opened.Asked, opened.Key, opened.Plain)
	if errors.Is(err, trust.ErrMembers) && p.Meet() == nil {
		answer, err = c.view.Ahead(opened.Asked, opened.Key, opened.Plain)
	}
	if err != nil {
		return err
	}
	defer answer.Wipe()
	c.believed(answer)
	for i, ask := range opened.Asks {
		if l, err := c.accept(answer, i, ask); err == nil {
			c.waiting.Put(ask, l)
		}
	}
	c.promote()
	return nil
}

// promote puts what came ahead of need in place of what is at hand, as soon as it may
// be used: until then the older version serves on.
func (c *Client) promote() {
	for _, ask := range c.waiting.Asks(wire.MaxItems, func(_ leases.Ask, l *leases.Lease) bool { return c.counts(l) }) {
		l := c.waiting.Take(ask)
		if l == nil {
			continue
		}
		if at := c.cache.Peek(ask); at != nil && at.Epoch.Compare(l.Epoch) >= 0 && c.counts(at) {
			l.Drop()
			continue
		}
		c.cache.Put(ask, l)
	}
}
