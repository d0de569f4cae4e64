// SPDX-License-Identifier: Apache-2.0

package natsbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"claviger/internal/relay"
)

// Listen subscribes to an address.
func (b *Bus) Listen(address string, hear func(relay.Message)) (stop func(), err error) {
	sub, err := b.conn.Subscribe(busSubject+address, func(m *nats.Msg) {
		hear(relay.Message{Data: m.Data, Reply: func(data []byte) {
			if m.Reply != "" {
				_ = m.Respond(data) // a lost reply looks like a lost message: who asked repeats it
			}
		}})
	})
	if err != nil {
		return nil, fmt.Errorf("listen on NATS: %w", err)
	}
	// What is on its way is still heard: dropped, its sender would wait in vain. It
	// fails only where the connection has ended, and all with it.
	stop = func() { _ = sub.Drain() }
	if err := sub.SetPendingLimits(pendingMessages, pendingBytes); err != nil {
		stop()
		return nil, fmt.Errorf("listen on NATS: %w", err)
	}
	// What was told on this connection after this call is heard: NATS takes one
	// connection's words in order. Others have to see the interest first.
	if err := b.conn.Flush(); err != nil {
		stop()
		return nil, fmt.Errorf("listen on NATS: %w", err)
	}
	return stop, nil
}

// Ask sends a message and waits for a reply.
func (b *Bus) Ask(ctx context.Context, address string, data []byte) ([]byte, error) {
	reply, err := b.conn.RequestWithContext(ctx, busSubject+address, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, relay.ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("ask over NATS: %w", err)
	}
	return reply.Data, nil
}

// Tell publishes a message.
func (b *Bus) Tell(address string, data []byte) error {
	if err := b.conn.Publish(busSubject+address, data); err != nil {
		return fmt.Errorf("tell over NATS: %w", err)
	}
	return nil
}
