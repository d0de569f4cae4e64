// SPDX-License-Identifier: Apache-2.0

package membus

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"claviger/internal/relay"
)

// listener hears what is in its queue, one message at a time.
type listener struct{ queue chan relay.Message }

// Listen begins to hear an address. What was queued when stop is called is still
// heard.
func (b *Bus) Listen(address string, hear func(relay.Message)) (stop func(), err error) {
	l := &listener{queue: make(chan relay.Message, pending)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners[address] = append(b.listeners[address], l)
	go func() {
		for m := range l.queue {
			hear(m)
		}
	}()
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		rest := slices.DeleteFunc(slices.Clone(b.listeners[address]), func(x *listener) bool { return x == l })
		if b.listeners[address] = rest; len(rest) == 0 {
			delete(b.listeners, address)
		}
		close(l.queue) // under the lock that every sender holds
	}), nil
}

// Ask hands a message to one listener and waits for its reply.
func (b *Bus) Ask(ctx context.Context, address string, data []byte) ([]byte, error) {
	reply := make(chan []byte, 1)
	m := relay.Message{Data: bytes.Clone(data), Reply: func(data []byte) {
		select {
		case reply <- bytes.Clone(data):
		default: // the second of two is no reply
		}
	}}
	b.mu.Lock()
	there := b.listeners[address]
	if len(there) == 0 {
		b.mu.Unlock()
		return nil, relay.ErrNobody
	}
	there[0].hand(m)
	b.mu.Unlock()
	select {
	case data := <-reply:
		return data, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask within the process: %w", ctx.Err())
	}
}

// Tell hands a message to every listener.
func (b *Bus) Tell(address string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners[address] {
		l.hand(relay.Message{Data: bytes.Clone(data), Reply: func([]byte) {}})
	}
	return nil
}

// hand queues a message. One that finds the queue full is lost, as it may be on
// any bus; who asked repeats it.
func (l *listener) hand(m relay.Message) {
	select {
	case l.queue <- m:
	default:
	}
}
