// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"time"

	"claviger/client/internal/leases"
	"claviger/internal/wire"
)

// Freshness is how recent what a Client knows is: what it believes of the domain, and
// how long the keys at hand may be used if it hears nothing more.
type Freshness struct {
	Epoch string // the newest state believed, as Client.Epoch gives it
	// Stated says that a statement of a server was believed, and Statement how long ago,
	// at most, the newest one of the newest epoch was signed.
	Stated    bool
	Statement time.Duration
	// Way is the address by which the last answer came, Server the id of the server that
	// gave it, in hexadecimal, and ServerName its name in the member chain; empty before
	// the first.
	Way, Server, ServerName string
	Keys                    []KeyFreshness // of the leases at hand, those used last first
}

// KeyFreshness is one lease.
type KeyFreshness struct {
	Key, ID   string
	Version   uint64
	State     string // as Opened.State
	Operation string // "encrypt" or "decrypt"
	Partition []byte
	Epoch     string        // at which it was released
	Server    string        // that gave it
	Ahead     bool          // it came ahead of need
	Lease     time.Duration // left
	// Staleness is for how long it may be used, within the lease, if no server's word
	// comes; 0: not before the next.
	Staleness time.Duration
}

// Freshness says how recent what the Client knows is. It asks nobody.
func (c *Client) Freshness() Freshness {
	out := Freshness{Epoch: c.Epoch()}
	out.Statement, out.Stated = c.view.Told()
	if way, server, ok := c.net.Last(); ok {
		out.Way, out.Server = way, server.String()
		if m, ok := c.view.Members().Server(server); ok {
			out.ServerName = m.Name
		}
	}
	c.cache.Asks(c.cache.Len(), func(ask leases.Ask, l *leases.Lease) bool {
		if c.lasts(l) {
			out.Keys = append(out.Keys, c.freshnessOf(ask, l))
		}
		return false
	})
	return out
}

func (c *Client) freshnessOf(ask leases.Ask, l *leases.Lease) KeyFreshness {
	return KeyFreshness{
		Key: l.Item.Name, ID: l.Item.KeyID.String(), Version: l.Item.Version, State: l.Item.State, Operation: ask.Operations,
		Partition: l.Item.Partition, Epoch: l.Epoch.String(), Server: l.Server.String(), Ahead: l.Ahead,
		Lease:     time.Duration(l.Item.Lease)*time.Second - l.Age(),
		Staleness: max(time.Duration(l.Item.Staleness)*time.Second-c.wordOn(l), 0),
	}
}

// Look gets leases of keys' current versions, to encrypt or else to decrypt, and then
// news, and says how fresh all is. It uses no key, but the servers' audit logs show
// that each was released. denied are the keys that may be used for neither.
func (c *Client) Look(ctx context.Context, keys ...string) (f Freshness, denied []*DeniedError, err error) {
	for _, key := range keys {
		if !wire.ValidKeyName(key) {
			return f, denied, errKeyName
		}
		ask := leases.Ask{Name: key, Operations: opEncrypt}
		_, err := c.lease(ctx, ask)
		if isDenied(err) {
			ask.Operations = opDecrypt
			_, err = c.lease(ctx, ask)
		}
		if no, ok := errors.AsType[*DeniedError](err); ok {
			denied = append(denied, no)
		} else if err != nil {
			return f, denied, err
		}
	}
	// A failure shows in how old the newest statement is.
	_ = c.Refresh(ctx)
	return c.Freshness(), denied, nil
}

// Known are the names of the keys whose ids are pinned: those that the client has
// used, and those in its profile.
func (c *Client) Known() []string { return c.kept.Names() }
