// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"claviger/internal/transport"
	"claviger/internal/wire"
)

// maxJunk is how many parcels of no use are taken from one way in a row. Whoever has
// more to show has to wait between them, longer each time.
const maxJunk = 16

var errJunk = errors.New("too many parcels of no use")

// Inbox is the mailbox of a client's run at one relay or directory.
type Inbox interface {
	Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error]
	DeleteParcel(ctx context.Context, number uint64) error
}

var (
	_ Inbox = (*transport.RelayOwner)(nil)
	_ Inbox = (*transport.DirectoryOwner)(nil)
)

// Parcel is what somebody left in the mailbox.
type Parcel struct {
	Sealed []byte
	// Meet introduces the servers of the way that it came by again: what it holds may
	// be of another membership.
	Meet func() error
}

// HasInbox reports whether a way leads to relays or directories, where parcels are
// left.
func (n *Network) HasInbox() bool {
	return slices.ContainsFunc(n.Order(), func(w *Way) bool { return w.Inbox != nil })
}

// Receive calls take with each parcel that is left in a mailbox, by every way at
// once, until ctx ends. With an error it was of no use; the parcel is deleted in any
// case.
func (n *Network) Receive(ctx context.Context, m *transport.Mailbox, take func(Parcel) error) {
	var all sync.WaitGroup
	for _, w := range n.Order() {
		if w.Inbox == nil {
			continue
		}
		all.Go(func() {
			_ = transport.Again(ctx, transport.Pauses{}, func(ctx context.Context, works func()) error {
				return n.receiveBy(ctx, w, m, func(p Parcel) error {
					err := take(p)
					if err == nil {
						works()
					}
					return err
				})
			}, nil)
		})
	}
	all.Wait()
}

// receiveBy takes parcels by one way until that ends, or shows too much of no use.
func (n *Network) receiveBy(ctx context.Context, w *Way, m *transport.Mailbox, take func(Parcel) error) error {
	box, junk := w.Inbox(m), 0
	for d, err := range box.Receive(ctx) {
		if err != nil {
			return err
		}
		junk++
		if d.Number != 0 && len(d.Data) <= wire.MaxParcel {
			err := take(Parcel{d.Data, func() error { return n.introducedAgain(ctx, w) }})
			if err == nil {
				junk = 0
			} else if rank(err) == rankIntegrity {
				n.doubts.hear(w, wire.ServerID{}, err)
			}
		}
		if d.Number != 0 {
			_ = box.DeleteParcel(ctx, d.Number) // what comes again is of no use, and is deleted then
		}
		// Security: a relay may make up parcels without end, and each costs the trial of
		// every key.
		if junk >= maxJunk {
			return errJunk
		}
	}
	return nil
}
