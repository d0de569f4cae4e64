// SPDX-License-Identifier: Apache-2.0

package doors

import (
	"context"
	"sync"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
)

// every is how often each door is called.
const every = 50 * time.Millisecond

// watched is what became of one door's calls.
type watched struct {
	mu      sync.Mutex
	worked  int
	last    time.Duration // when the newest call that worked was begun
	ended   time.Duration // when its answer had come
	refused int           // since the newest that worked
	reason  error
}

// watch calls a door again and again until ctx ends.
func (w *watched) watch(ctx context.Context, d door) {
	watch := clock.System()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		began := watch.Boot()
		err := d.call(ctx)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		if err == nil {
			w.worked, w.last, w.ended, w.refused = w.worked+1, began, watch.Boot(), 0
		} else {
			w.refused, w.reason = w.refused+1, err
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *watched) is(f func(*watched) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f(w)
}

// until waits for something that every door has come to.
func until(t *testing.T, all map[string]*watched, what string, f func(*watched) bool) {
	t.Helper()
	late := time.After(time.Minute)
	for name, w := range all {
		for !w.is(f) {
			select {
			case <-late:
				t.Fatalf("%s: not %s (%v)", name, what, w.reason)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// TestOneSwitch: while every door is called every 50 ms, disabling their key, or
// revoking everything, ends them all: no call that began once the entry was durable
// works, in whatever protocol. How long the last ones took is logged.
func TestOneSwitch(t *testing.T) {
	for name, c := range map[string]struct {
		kind   string
		change func(r *rig) any
		other  map[string]bool // doors with another key
	}{
		"disable the key":   {authority.KindKeyDisable, func(r *rig) any { return authority.KeyRef{ID: r.KeyOf("shared/k").ID} }, map[string]bool{"dke": true}},
		"revoke everything": {authority.KindRevokeAll, func(*rig) any { return authority.Subject{Reason: "drill"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			all := map[string]*watched{}
			var running sync.WaitGroup
			for _, d := range r.doors {
				w := new(watched)
				all[d.name] = w
				running.Go(func() { w.watch(ctx, d) })
			}
			until(t, all, "working", func(w *watched) bool { return w.worked >= 3 })
			r.Propose(c.kind, c.change(r))
			durable := clock.System().Boot()
			for name := range c.other {
				before := 0
				all[name].is(func(w *watched) bool { before = w.worked; return true })
				until(t, map[string]*watched{name: all[name]}, "working on", func(w *watched) bool { return w.worked > before+3 })
				delete(all, name)
			}
			until(t, all, "refused", func(w *watched) bool { return w.refused >= 10 })
			stop()
			running.Wait()
			for name, w := range all {
				if w.last > durable {
					t.Errorf("%s: a call that began %v after the entry was durable worked", name, w.last-durable)
				}
				t.Logf("%-10s %d calls worked, the last answer %v after the entry was durable, then: %v", name, w.worked, (w.ended - durable).Round(time.Millisecond), w.reason)
			}
		})
	}
}
