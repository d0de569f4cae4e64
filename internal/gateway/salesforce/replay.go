// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"fmt"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
)

const (
	// remember is for how long a request id is not answered again: longer than any
	// token of Salesforce's holds.
	remember = time.Hour
	// maxIDs bounds the ids of one half of that time, some 100 bytes each.
	maxIDs = 1 << 16
)

// replays are request ids that were answered, of this half hour and the last.
type replays struct {
	clock clock.Clock

	mu            sync.Mutex
	began         time.Duration // boot time at which current began
	current, last map[string]struct{}
}

// use takes an id once. Errors: keyserver.ErrBusy if there are too many.
func (r *replays) use(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Boot()
	if r.current == nil || now-r.began >= remember {
		r.last, r.current, r.began = r.current, map[string]struct{}{}, now
	}
	_, this := r.current[id]
	_, before := r.last[id]
	switch {
	case this || before:
		return errReplay
	case len(r.current) >= maxIDs:
		return fmt.Errorf("%w: too many request ids", keyserver.ErrBusy)
	}
	r.current[id] = struct{}{}
	return nil
}
