// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"claviger/client"
	"claviger/internal/clock"
)

// holder is one client with a lease, and what its prober saw.
type holder struct {
	client *client.Client
	clock  *bent
	object []byte
	truth  clock.Clock
	every  time.Duration // of the machine's time

	mu    sync.Mutex
	tries int
	last  time.Time // when the last try that succeeded began
	dark  time.Time // when the first after it that failed had ended
}

// gang is all holders of a rig.
type gang struct {
	rig  *rig
	all  []*holder
	stop func()
}

// gather enrols clients, each through the hop that by names, has each take a lease
// and waits until each follows the news.
func (r *rig) gather(n int, every time.Duration, by func(int) *hop) *gang {
	r.tb.Helper()
	g := &gang{rig: r, all: make([]*holder, n), stop: func() {}}
	lines := make([]string, n)
	for i := range n {
		lines[i] = r.invite(name(i), by(i).address)
	}
	var group sync.WaitGroup
	errs := make([]error, n)
	const atOnce = 8
	for w := range atOnce {
		group.Go(func() {
			for i := w; i < n; i += atOnce {
				g.all[i], errs[i] = r.holder(name(i), lines[i])
			}
		})
	}
	group.Wait()
	r.tb.Cleanup(func() {
		g.stop()
		for _, h := range g.all {
			if h != nil {
				h.client.Close()
			}
		}
	})
	for _, err := range errs {
		r.must(err)
	}
	var err error
	r.object, err = g.all[0].client.Encrypt(r.tb.Context(), keyName, []byte("4111"), client.EncryptOptions{})
	r.must(err)
	for w := range atOnce {
		group.Go(func() {
			for i := w; i < n; i += atOnce {
				g.all[i].object, g.all[i].every = r.object, every
				_, _, errs[i] = g.all[i].client.Decrypt(r.tb.Context(), r.object, expect)
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		r.must(err)
	}
	want := map[*hop]int{}
	for i := range n {
		want[by(i)]++
	}
	for h, n := range want {
		r.until("all follow", func() bool { return h.following() == n })
	}
	return g
}

func (r *rig) holder(name, line string) (*holder, error) {
	p, err := r.enrol(name, line)
	if err != nil {
		return nil, err
	}
	h := &holder{clock: &bent{of: r.clock}, truth: r.clock}
	h.client, err = client.Dial(context.Background(), p, client.Options{Clock: h.clock, Timeout: patience})
	return h, err
}

// probe starts every holder's prober.
func (g *gang) probe() {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i, h := range g.all {
		all.Go(func() { h.run(ctx, time.Duration(i)*h.every/time.Duration(len(g.all))) })
	}
	g.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
}

// run tries the key again and again. Once it failed that is done seldom, because a
// try that fails makes a request, and takes a thousand times as long: what is dark
// has to stay so all the same.
func (h *holder) run(ctx context.Context, phase time.Duration) {
	pause(phase)
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for dark := false; ; {
		if now := !h.try(); now && !dark {
			dark = true
			tick.Reset(seldom * h.every)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const seldom = 10

// try uses the key under a context that has ended: whoever would have to be asked
// can't be. It reports whether that was possible.
func (h *holder) try() bool {
	nobody, cancel := context.WithCancel(context.Background())
	cancel()
	began := h.truth.Now()
	_, _, err := h.client.Decrypt(nobody, h.object, expect)
	ended := h.truth.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries++
	if err == nil {
		h.last, h.dark = began, time.Time{}
	} else if h.dark.IsZero() {
		h.dark = ended
	}
	return err == nil
}

// tried waits until every prober has tried once more.
func (g *gang) tried() {
	g.rig.tb.Helper()
	before := make([]int, len(g.all))
	for i, h := range g.all {
		before[i] = h.count()
	}
	g.rig.until("every prober tries", func() bool {
		for i, h := range g.all {
			if h.count() < before[i]+2 { // one may have begun before
				return false
			}
		}
		return true
	})
}

func (h *holder) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tries
}

// lit is how long after a moment holders went on, sorted: at least, by the last
// try that succeeded, and at most, by the first that failed.
func lit(all []*holder, at time.Time) (least, most []time.Duration) {
	for _, h := range all {
		h.mu.Lock()
		least = append(least, max(0, h.last.Sub(at)))
		most = append(most, max(0, h.dark.Sub(at)))
		h.mu.Unlock()
	}
	slices.Sort(least)
	slices.Sort(most)
	return least, most
}

// rank is the nearest-rank percentile, as reports have it.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}
