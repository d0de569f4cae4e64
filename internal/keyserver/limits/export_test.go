// SPDX-License-Identifier: Apache-2.0

package limits

import "claviger/internal/clock"

// NewReplaysOf returns a memory with smaller bounds.
func NewReplaysOf(c clock.Clock, most, bytes int) *Replays {
	r := NewReplays(c)
	r.most, r.bytes = most, bytes
	return r
}

// Remembered counts what the memory holds.
func (r *Replays) Remembered() (seen, answers, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	return len(r.seen), len(r.answers), r.size
}
