// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"sync"
)

// Notifier wakes the followers of a log without polling. A follower takes
// Changed before it looks at the log, and waits on it if it found nothing:
// taken in the other order, a record appended in between would be slept
// through. The zero value is ready for use.
type Notifier struct {
	mu      sync.Mutex
	changed chan struct{}
	closed  bool
}

// Changed returns a channel that the next Wake or Close closes.
func (n *Notifier) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current()
}

// Wake wakes everyone who waits. Call it after the change is readable.
func (n *Notifier) Wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		close(n.current())
		n.changed = nil
	}
}

// Close wakes everyone who waits, now and later. It may be called again.
func (n *Notifier) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		close(n.current())
	}
}

// current is called with mu held.
func (n *Notifier) current() chan struct{} {
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

// Wait blocks until changed is closed or ctx ends, and then returns ctx's error.
func Wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
