// SPDX-License-Identifier: Apache-2.0

package holding

import (
	"fmt"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

// What became of acknowledgements.
const (
	AckTaken   = "taken"
	AckUnknown = "unknown" // of a mailbox that holds nothing
	AckRefused = "refused"
)

// Ack takes a verified acknowledgement: see holders.Table.Acked and Gone. With an error it
// is refused.
func (h *Holding) Ack(ack *wire.Ack) (outcome string, err error) {
	known, left := false, ack.NotAfter-h.o.Clock.Now().UnixMilli()
	var domain wire.DomainID
	h.o.Log.View(func(s *authority.State) { known, domain = s.On(ack.Epoch, ack.Head), s.Members.Domain })
	switch {
	case ack.Domain != domain:
		return AckRefused, fmt.Errorf("%w: of another domain", wire.ErrMalformed)
	case left <= 0 || left > wire.MaxRequestLife:
		return AckRefused, fmt.Errorf("%w: it has ended, or lasts too long", wire.ErrMalformed)
	case !known:
		// Security: who has obeyed another history has not obeyed this one.
		return AckRefused, fmt.Errorf("%w: of no record of this log", wire.ErrMalformed)
	}
	h.Hear(ack.Epoch)
	mailbox, taken := wire.MailboxID(ack.Mailbox), false
	if ack.Gone {
		taken = h.table.Gone(mailbox, ack.At)
	} else {
		taken = h.table.Acked(mailbox, ack.Epoch, ack.At)
	}
	if !taken {
		return AckUnknown, nil
	}
	return AckTaken, nil
}
