// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"claviger/internal/clock"
)

// Defaults of [NewBudget].
const (
	DefaultRefusals   = 600   // refused leaves of one identity per minute
	DefaultIdentities = 65536 // identities counted at once
)

// window is the time that a budget is for.
const window = time.Minute

// Others is the identity under which refusals are counted when more identities
// than a [Budget] can hold are active at once.
const Others = "(others)"

// ErrBudget says that an identity has used its refused leaves of this minute:
// its next refusals are counted, not written, and answered with 429.
var ErrBudget = errors.New("too many refused requests")

// Refused is what one counting leaf says: how many refusals of a caller were
// not written, and when the minute in which they came began.
type Refused struct {
	Caller string
	Since  time.Time
	Count  uint64
}

// Leaf is the counting leaf.
func (r Refused) Leaf() Leaf {
	return Leaf{Kind: Refusals, Caller: r.Caller, Count: r.Count,
		Reason: "over the budget of refused requests in the minute from " + r.Since.UTC().Format(time.RFC3339)}
}

// Budget bounds how many leaves refused requests may cost each identity. It
// holds a bounded number of identities, and its minutes go by the boot clock, so
// that setting the wall clock frees nobody. Identities must be authenticated:
// who isn't gets no leaf at all. It is safe for concurrent use.
type Budget struct {
	clock      clock.Clock
	perMinute  uint64
	identities int

	mu     sync.Mutex
	active map[string]*spent
	due    []Refused
	swept  time.Duration // boot time of the last makeRoom
}

type spent struct {
	until   time.Duration // boot time at which the window ends
	since   time.Time
	written uint64
	over    uint64
}

// NewBudget returns a budget of perMinute refused leaves for each of at most
// identities callers; 0 stands for the defaults.
func NewBudget(c clock.Clock, perMinute, identities int) *Budget {
	if perMinute <= 0 {
		perMinute = DefaultRefusals
	}
	if identities <= 0 {
		identities = DefaultIdentities
	}
	return &Budget{clock: c, perMinute: uint64(perMinute), identities: identities, active: map[string]*spent{}}
}

// Refuse counts one refusal of a caller. nil means: write its leaf. [ErrBudget]
// means: write none; a counting leaf will follow.
func (b *Budget) Refuse(caller string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(caller)
	if s.written < b.perMinute {
		s.written++
		return nil
	}
	s.over++
	return ErrBudget
}

// of returns the caller's running minute.
func (b *Budget) of(caller string) *spent {
	now := b.clock.Boot()
	s := b.active[caller]
	if s != nil && now < s.until {
		return s
	}
	if s == nil && len(b.active) >= b.identities {
		b.makeRoom(now)
		if len(b.active) >= b.identities && caller != Others {
			return b.of(Others) // at most one more than identities
		}
	}
	if s != nil {
		b.end(caller, s)
	}
	s = &spent{until: now + window, since: b.clock.Now()}
	b.active[caller] = s
	return s
}

// makeRoom ends old minutes, at most once a second: a flood of identities must
// not make every refusal walk through all of them.
func (b *Budget) makeRoom(now time.Duration) {
	if now < b.swept+time.Second && b.swept > 0 {
		return
	}
	b.swept = now
	b.sweep(now, false)
}

// Due returns what counting leaves have to say: of the minutes that have ended,
// or with all of the running ones too. What it returns is forgotten here. Call
// it every minute or so, and with all at the end.
func (b *Budget) Due(all bool) []Refused {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(b.clock.Boot(), all)
	due := b.due
	b.due = nil
	return due
}

// Write turns what is due into counting leaves of a log, and waits until they are
// durable.
func (b *Budget) Write(log *Log, all bool) error {
	var errs []error
	for _, r := range b.Due(all) {
		_, ticket, err := log.Enter(r.Leaf())
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
			err = ticket.Wait(ctx)
			cancel()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writeWithin is how long one counting leaf may take to become durable.
const writeWithin = 5 * time.Second

func (b *Budget) sweep(now time.Duration, all bool) {
	for caller, s := range b.active {
		if all || now >= s.until {
			b.end(caller, s)
		}
	}
}

// end closes a minute.
func (b *Budget) end(caller string, s *spent) {
	delete(b.active, caller)
	switch last := len(b.due) - 1; {
	case s.over == 0:
	case last >= b.identities: // nobody fetches them: the last one takes the rest
		b.due[last].Caller = Others
		b.due[last].Count += s.over
	default:
		b.due = append(b.due, Refused{caller, s.since, s.over})
	}
}
