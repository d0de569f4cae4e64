// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"iter"

	"claviger/internal/wire"
)

// Peer is the server that a message is for, as its verified descriptor names it.
// Each way uses what it needs of it.
type Peer struct {
	TLS     wire.Hash // Descriptor.TLS: a direct way speaks to this key alone
	Mailbox wire.Hash // Descriptor.Mailbox; zero: the server is at no relay or directory
	Token   []byte    // the newest send token that the server gave, or the invite; empty: none
}

// DirectWay is a [Direct] in the shape that [Relay] and [Directory] have: it leads
// to one server.
type DirectWay struct{ *Direct }

// Way returns the server as a way to servers.
func (d *Direct) Way() DirectWay { return DirectWay{d} }

// Introductions fetches the server's one introduction.
func (w DirectWay) Introductions(ctx context.Context) ([][]byte, error) {
	return one(w.Direct.Introduction(ctx))
}

// Exchange pins the peer's TLS key and sends the message.
func (w DirectWay) Exchange(ctx context.Context, to Peer, sealed []byte) ([]byte, error) {
	w.Pin(to.TLS)
	return w.Direct.Exchange(ctx, sealed)
}

// Statements fetches the server's newest statement; Pin comes first.
func (w DirectWay) Statements(ctx context.Context) ([][]byte, error) {
	return one(w.Direct.Statement(ctx))
}

// Follow yields the server's newest statement, then each new one as it is made,
// until the connection ends, with an error last; Pin comes first.
func (w DirectWay) Follow(ctx context.Context) iter.Seq2[[]byte, error] { return w.Direct.Follow(ctx) }

func one(message []byte, err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	return [][]byte{message}, nil
}
