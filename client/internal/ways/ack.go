// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"fmt"

	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// Acknowledge tells one server what was obeyed, by whichever way leads to it. What
// it answers is unsigned and says no more than that the message came.
func (n *Network) Acknowledge(ctx context.Context, server wire.ServerID, m trust.Mailbox, o trust.Obeyed) error {
	return n.each(ctx, func(w *Way) error {
		peers, err := n.introduced(ctx, w, false)
		for _, p := range peers {
			if p.Server != server {
				continue
			}
			err := n.acknowledgeBy(ctx, w, p, m, o)
			if err != nil && curable(w, err) {
				if p, err = n.anew(ctx, w, p); err == nil && p.Server == server {
					err = n.acknowledgeBy(ctx, w, p, m, o)
				}
			}
			return err
		}
		return Worse(Unavailable(fmt.Errorf("%w: not at %s", errNotThere, w.Address)), err)
	})
}

var errNotThere = errors.New("the server that gave a lease is not to be found")

func (n *Network) acknowledgeBy(ctx context.Context, w *Way, p *trust.Peer, m trust.Mailbox, o trust.Obeyed) error {
	sealed, err := n.view.Ack(p, m, o)
	if err != nil {
		return err
	}
	if _, err = n.send(ctx, w, p, sealed); err != nil {
		return Unavailable(err)
	}
	return nil
}
