// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"fmt"

	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// Begin makes a View of the first introduction that is believed, for a domain of
// which only the id is known.
type Begin func(introduction []byte) (*trust.View, error)

// Meet makes a Network for who knows no more of a domain than its id: begin is
// shown one introduction after the other, by one way after the other, until it
// believes one.
func Meet(ctx context.Context, domain wire.DomainID, o Options, begin Begin) (*Network, error) {
	n := &Network{tokens: o.Tokens, doubts: newDoubts(o)}
	if err := n.open(domain, o); err != nil {
		return nil, err
	}
	err := n.each(ctx, func(w *Way) (err error) {
		n.view, err = n.meetBy(ctx, w, begin)
		return err
	})
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Network) meetBy(ctx context.Context, w *Way, begin Begin) (*trust.View, error) {
	all, err := w.Carrier.Introductions(ctx)
	if err != nil {
		return nil, Unavailable(err)
	}
	failed := Unavailable(fmt.Errorf("no server of the domain is at %s", w.Address))
	for i, data := range all[:min(len(all), wire.MaxBoardServers)] {
		view, err := begin(data)
		if err == nil {
			return view, nil
		}
		n.doubts.hear(w, wire.ServerID{}, err)
		if i == 0 || rank(err) > rank(failed) {
			failed = err
		}
	}
	return nil, failed
}
