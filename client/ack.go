// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"maps"
	"sync"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

const (
	// maxGiven bounds what is remembered of leases: a server waits for the end of
	// one that is forgotten.
	maxGiven = 1 << 16
	// payFor is how long an acknowledgement is tried; after that the next contact
	// takes it along.
	payFor = time.Minute
	// byeFor is how long Close tries to say that everything is dropped: who isn't told
	// waits for the leases' ends.
	byeFor = time.Second
)

// remember notes a lease until it ends or is acknowledged, also if it leaves the
// cache before.
func (c *Client) remember(l *leases.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && len(c.given) < maxGiven {
		c.given[l] = struct{}{}
	}
}

// forget drops notes of leases that have ended.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.given, func(l *leases.Lease, _ struct{}) bool {
		return l.Age() >= time.Duration(l.Item.Lease)*time.Second
	})
}

// owe notes who has to be told that what the news revokes is gone. The leases are
// dropped by then.
func (c *Client) owe(news *trust.News) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.given, func(l *leases.Lease, _ struct{}) bool {
		if !news.Revokes(l.Item.Revocation, l.Epoch) {
			return false
		}
		c.debts[l.Server] = c.view.Obeyed(news, l.Server)
		return true
	})
}

// pay acknowledges in the background. Nothing waits for it.
func (c *Client) pay() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.paying || len(c.debts) == 0 {
		return
	}
	c.paying = true
	c.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, payFor)
		defer cancel()
		_ = transport.Again(ctx, transport.Pauses{}, func(ctx context.Context, _ func()) error {
			if c.payAll(ctx) {
				cancel()
			}
			return nil
		}, nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paying = false
	})
}

// payAll tells each server what it has to know, and reports whether all have
// heard.
func (c *Client) payAll(ctx context.Context) bool {
	c.mu.Lock()
	debts := maps.Clone(c.debts)
	c.mu.Unlock()
	for server, o := range debts {
		if c.net.Acknowledge(ctx, server, c.mailbox, o) != nil {
			continue
		}
		c.mu.Lock()
		if c.debts[server] == o {
			delete(c.debts, server)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.debts) == 0
}

// bye tells the servers whose leases haven't ended that everything is dropped. All
// keys are wiped by then.
func (c *Client) bye() {
	c.forget()
	c.mu.Lock()
	servers := map[wire.ServerID]struct{}{}
	for l := range c.given {
		servers[l.Server] = struct{}{}
	}
	for server := range c.debts {
		servers[server] = struct{}{}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), byeFor)
	defer cancel()
	var all sync.WaitGroup
	for server := range servers {
		all.Go(func() { _ = c.net.Acknowledge(ctx, server, c.mailbox, c.view.Gone(server)) })
	}
	all.Wait()
}
