// SPDX-License-Identifier: Apache-2.0

package keyserver

import "claviger/internal/wire"

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
