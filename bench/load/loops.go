// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// closed has every asker ask as fast as it is answered.
func closed(ctx context.Context, askers []asker, p Plan) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Warmup+p.Duration)
	defer cancel()
	begin := time.Now().Add(p.Warmup)
	parts := make([]Result, len(askers))
	var all sync.WaitGroup
	for i, a := range askers {
		all.Go(func() {
			part := &parts[i]
			for ctx.Err() == nil {
				start := time.Now()
				part.note(ctx, start, start.Before(begin), a.ask(ctx))
				if part.First != nil {
					return // a connection that failed has no next request
				}
			}
		})
	}
	all.Wait()
	return sum(parts, time.Since(begin)), nil
}

// open starts requests when they are due. At most Connections are under way at a
// time; one that is due while all are busy waits, and its time runs.
func open(ctx context.Context, t Target, p Plan) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Warmup+p.Duration)
	defer cancel()
	client := newClient(t, p.Connections)
	defer client.close()
	start := time.Now()
	begin := start.Add(p.Warmup)
	var next atomic.Int64
	parts := make([]Result, p.Connections)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() {
			for {
				n := next.Add(1) - 1
				due := start.Add(time.Duration(float64(n) / p.Rate * float64(time.Second)))
				if !wait(ctx, time.Until(due)) {
					return
				}
				parts[i].note(ctx, due, due.Before(begin), client.ask(ctx))
			}
		})
	}
	all.Wait()
	return sum(parts, time.Since(begin)), nil
}

// wait reports whether so much time has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// note counts a request that was due at start. One that the end of the plan cut
// off counts as nothing.
func (r *Result) note(ctx context.Context, start time.Time, warmup bool, err error) {
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		r.Errors++
		if r.First == nil {
			r.First = err
		}
	case !warmup:
		r.Times.Note(time.Since(start))
	}
}

func sum(parts []Result, elapsed time.Duration) *Result {
	all := &Result{Elapsed: elapsed}
	for i := range parts {
		all.Times.Add(&parts[i].Times)
		all.Errors += parts[i].Errors
		if all.First == nil {
			all.First = parts[i].First
		}
	}
	return all
}
