// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/authority"
	"claviger/internal/keyserver/hearsay"
	"claviger/internal/keyserver/identity"
	"claviger/internal/wire"
)

// sendToken is today's, which releases carry; nil without a mailbox.
func (c *Core) sendToken() []byte {
	if c.o.Mailbox.IsZero() {
		return nil
	}
	return c.tokens.Of(c.Now())
}

// SendTokens are the hashes of the tokens that open the server's mailbox today.
func (c *Core) SendTokens() []wire.Hash { return c.tokens.Good(c.Now()) }

// Ending returns a channel that is closed when a seal begins: streams end then.
func (c *Core) Ending() <-chan struct{} { return c.ending }

// Introduction is what a client needs to meet this server: its descriptor and
// the member chain.
func (c *Core) Introduction() (wire.Introduction, error) { return c.own.Introduction() }

// Holders is how many hold leases that were released by this run of the server or
// by one that its audit log tells of.
func (c *Core) Holders() int { return c.holding.Holders() }

// Changed returns a channel that is closed when the log moves: then there is a new
// statement, which says so.
func (c *Core) Changed() <-chan struct{} { return c.log.Changed() }

// View shows the present state to f, which keeps none of it but what never changes.
func (c *Core) View(f func(*authority.State)) { c.log.View(f) }

// Statement is a signed epoch statement, at most Options.StatementEvery old.
func (c *Core) Statement() ([]byte, error) { return c.own.Statement() }

func (c *Core) openIdentity() (err error) {
	c.own, err = identity.New(identity.Options{
		Domain: c.o.Domain, Server: c.id, Signer: c.signer, TLSKey: c.o.TLSKey, Mailbox: c.o.Mailbox,
		Clock: c.clock, Logger: c.logger, Every: c.o.StatementEvery, Log: identity.Books{Log: c.log, Audit: c.audit, Unwritable: ErrUnavailable}, Usable: c.Usable,
		Stated: func(e wire.Epoch, issued int64) { c.holding.Stated(e, issued) },
	})
	return err
}

func (c *Core) openHearsay() (err error) {
	c.hearsay, err = hearsay.Open(hearsay.Options{
		Dir: c.dir.Proofs(), Domain: c.o.Domain, Log: c.log, Clock: c.clock, Every: c.o.StatementEvery, Own: c.own.Word,
		Alarm: func(kind, what string) {
			c.logger.Error("Contradiction", "what", what)
			c.o.Meter.Alarm(kind)
			c.alarm(context.Background(), kind, what)
		},
	})
	return err
}

// Hear takes a statement of a server that came another way than by the store.
func (c *Core) Hear(signed []byte) { c.hearsay.Hear(signed) }

// unseal opens a message with the key of the descriptor it was sealed to, and
// returns that descriptor's hash.
func (c *Core) unseal(typ string, sealed []byte, limit int) ([]byte, wire.Hash, error) {
	plain, descriptor, err := c.own.Open(typ, sealed, limit)
	if errors.Is(err, identity.ErrNoKey) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return plain, descriptor, err
}
