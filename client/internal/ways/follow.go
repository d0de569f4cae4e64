// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// followSilence is how old the newest statement may become before another way is
// tried: whoever carries statements may swallow them.
const followSilence = 75 * time.Second

// Follow calls believed after each statement that is believed, as servers make
// them, until ctx ends: by the way of the last answer first, and after each end by
// the next.
func (n *Network) Follow(ctx context.Context, believed func()) {
	all := slices.DeleteFunc(n.Order(), func(w *Way) bool {
		_, ok := w.Carrier.(follower)
		return !ok
	})
	if len(all) == 0 {
		return
	}
	turn := -1
	_ = transport.Again(ctx, transport.Pauses{}, func(ctx context.Context, works func()) error {
		turn++
		return n.followBy(ctx, all[turn%len(all)], believed, works)
	}, nil)
}

// followBy listens by one way until it ends, or shows nothing new for too long.
func (n *Network) followBy(ctx context.Context, w *Way, believed, works func()) error {
	if _, err := n.introducedOne(ctx, w); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(followSilence, func() { cancel(errOldNews) })
	defer silence.Stop()
	for data, err := range w.Carrier.(follower).Follow(ctx) {
		if errors.Is(err, tlscert.ErrPin) {
			return errors.Join(err, n.introducedAgain(ctx, w))
		}
		if err != nil {
			return err
		}
		if err := n.statement(ctx, w, data); err != nil { // a lie, or old: it counts for nothing
			if rank(err) == rankIntegrity {
				n.doubts.hear(w, wire.ServerID{}, err)
			}
			continue
		}
		believed()
		// Security: an old statement, shown again and again, must not keep this from
		// looking for somebody who has a newer one (T-16).
		if age, ok := n.view.Told(); ok && age < followSilence {
			works()
			silence.Reset(followSilence - age)
		}
	}
	return nil
}
