// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"sync/atomic"
	"time"

	"claviger/internal/pace"
)

// Pauses between tries of [Again]. The zero value is 250 ms growing to 30 s.
type Pauses struct {
	First time.Duration // after the first failure
	Most  time.Duration // however many failed
}

// Again runs try until ctx ends, which it returns the cause of. After each end of
// try, with an error or without, it pauses: longer after each, until a try called
// works, which says that the other side is there, or ran for longer than the
// longest pause. The pauses are drawn at random, so that many who lost the same relay don't come
// back to it at the same moment. failed, if it isn't nil, hears of each end.
func Again(ctx context.Context, p Pauses, try func(ctx context.Context, works func()) error, failed func(error)) error {
	if p.First <= 0 {
		p.First = pace.FirstPause
	}
	if p.Most <= 0 {
		p.Most = pace.MostPause
	}
	pause := p.First
	for ctx.Err() == nil {
		var worked atomic.Bool
		works := func() { worked.Store(true) }
		lasted := time.AfterFunc(p.Most, works)
		err := try(ctx, works)
		lasted.Stop()
		if ctx.Err() != nil {
			break
		}
		if worked.Load() {
			pause = p.First
		}
		if failed != nil {
			failed(err)
		}
		sleep(ctx, pace.Pause(pause, pace.Random()))
		pause = pace.Next(pause, p.Most)
	}
	return context.Cause(ctx)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
