// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"fmt"
	"time"

	"claviger/internal/keyserver/holding"
	"claviger/internal/wire"
)

// maxSealedAck is the size of the largest sealed acknowledgement.
const maxSealedAck = wire.MaxAck + 2<<10

// acknowledge takes a holder's word that it has dropped what was revoked. Whoever
// owns the mailbox may say so; the answer is the same whether it is known, and
// unsigned.
func (c *Core) acknowledge(ctx context.Context, sealed []byte, id wire.Hash) ([]byte, error) {
	ack, err := c.openAck(ctx, sealed)
	outcome := holding.AckRefused
	if err == nil {
		outcome, err = c.holding.Ack(ack)
	}
	c.o.Meter.Ack(outcome)
	if err != nil {
		return nil, err
	}
	if outcome == holding.AckTaken { // only what comes of a known mailbox takes room in the memory of repeats
		c.seen.Verified(id, time.Duration(ack.NotAfter-c.Now().UnixMilli())*time.Millisecond)
		if ack.Gone {
			c.ahead.Gone(ctx, wire.MailboxID(ack.Mailbox))
		}
	}
	return wire.Marshal(wire.TypeAck), nil
}

// openAck does the public-key work.
func (c *Core) openAck(ctx context.Context, sealed []byte) (*wire.Ack, error) {
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	plain, descriptor, err := c.unseal(wire.TypeAck, sealed, wire.MaxAck)
	if err != nil {
		return nil, err
	}
	ack, err := wire.ParseAck(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: acknowledgement: %w", ErrMalformed, err)
	}
	// Security: what was sealed to another server is not passed on to this one.
	if ack.Descriptor != descriptor {
		return nil, fmt.Errorf("%w: acknowledgement: made for another descriptor", ErrMalformed)
	}
	return ack, nil
}
