// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"fmt"
	"time"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

// What became of acknowledgements, for Meter.Ack.
const (
	AckTaken   = "taken"
	AckUnknown = "unknown" // of a mailbox that holds nothing
	AckRefused = "refused"
)

// maxSealedAck is the size of the largest sealed acknowledgement.
const maxSealedAck = wire.MaxAck + 2<<10

// acknowledge takes a holder's word that it has dropped what was revoked. Whoever
// owns the mailbox may say so; the answer is the same whether it is known, and
// unsigned.
func (c *Core) acknowledge(ctx context.Context, sealed []byte, id wire.Hash) ([]byte, error) {
	ack, err := c.openAck(ctx, sealed)
	if err == nil {
		err = c.checkAck(ack)
	}
	if err != nil {
		c.o.Meter.Ack(AckRefused)
		return nil, err
	}
	if !c.holding.Acked(wire.MailboxID(ack.Mailbox), ack.Epoch, ack.At) {
		c.o.Meter.Ack(AckUnknown)
		return wire.Marshal(wire.TypeAck), nil
	}
	// Only what comes of a known mailbox takes room in the memory of repeats.
	c.seen.Verified(id, time.Duration(ack.NotAfter-c.Now().UnixMilli())*time.Millisecond)
	c.o.Meter.Ack(AckTaken)
	return wire.Marshal(wire.TypeAck), nil
}

// openAck does the public-key work.
func (c *Core) openAck(ctx context.Context, sealed []byte) (*wire.Ack, error) {
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	plain, descriptor, err := c.own.open(wire.TypeAck, sealed, wire.MaxAck)
	if err != nil {
		return nil, err
	}
	ack, err := wire.ParseAck(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// Security: what was sealed to another server is not passed on to this one.
	if ack.Descriptor != descriptor {
		return nil, fmt.Errorf("%w: made for another descriptor", ErrMalformed)
	}
	return ack, nil
}

func (c *Core) checkAck(ack *wire.Ack) error {
	left := ack.NotAfter - c.Now().UnixMilli()
	switch {
	case ack.Domain != c.o.Domain:
		return fmt.Errorf("%w: an acknowledgement of another domain", ErrMalformed)
	case left <= 0 || left > wire.MaxRequestLife:
		return fmt.Errorf("%w: an acknowledgement that has ended, or lasts too long", ErrMalformed)
	}
	// Security: who has obeyed another history has not obeyed this one.
	known := false
	c.log.View(func(s *authority.State) { known = s.On(ack.Epoch, ack.Head) })
	if !known {
		return fmt.Errorf("%w: an acknowledgement of no record of this log", ErrMalformed)
	}
	return nil
}
