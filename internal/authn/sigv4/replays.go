// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"fmt"
	"sync"
	"time"

	"claviger/internal/authn"
)

// Grace is how long a signature may come again: a signature has no nonce and its
// time whole seconds, so a request that is sent once more right away is the same
// one. Whoever kept it for longer gets nothing.
const Grace = 2 * time.Second

// DefaultMaxReplays is how many signatures are remembered: 1,800 requests a second
// over the ten minutes during which one could come again, some 50 MiB.
const DefaultMaxReplays = 1_080_000

// replays remembers the signatures of verified requests while they could be used
// again. What is dropped stays refused by its time, should the clock be set back.
type replays struct {
	most int

	mu      sync.Mutex
	n       int
	minutes map[int64]map[[16]byte]int64 // by the minute of the request's time: when it first came, Unix milliseconds
	floor   int64                        // the last minute that was dropped
}

func newReplays(most int) *replays {
	return &replays{most: most, minutes: map[int64]map[[16]byte]int64{}}
}

// use takes a signature for the first time, or again within Grace.
func (p *replays) use(signature [32]byte, signed, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for minute, seen := range p.minutes {
		if (minute+1)*60 < now.Add(-Skew).Unix() {
			p.n -= len(seen)
			delete(p.minutes, minute)
			p.floor = max(p.floor, minute)
		}
	}
	minute, name := signed.Unix()/60, [16]byte(signature[:16])
	if minute <= p.floor {
		return refused("request was used before, or the clock was set back")
	}
	if first, ok := p.minutes[minute][name]; ok {
		if since := now.UnixMilli() - first; since < 0 || since > Grace.Milliseconds() {
			return refused("request was used before")
		}
		return nil
	}
	if p.n >= p.most {
		return fmt.Errorf("%w: %w", authn.ErrRefused, authn.ErrBusy)
	}
	if p.minutes[minute] == nil {
		p.minutes[minute] = map[[16]byte]int64{}
	}
	p.minutes[minute][name] = now.UnixMilli()
	p.n++
	return nil
}
