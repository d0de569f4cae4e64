// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// tripping is a clock that does something when it is read for the n-th time from now
// on, and goes on by a second after that.
type tripping struct {
	clock.Clock
	left  atomic.Int64 // readings until then; 0: nothing is to be done
	ahead atomic.Int64 // nanoseconds
	do    func()
}

func (c *tripping) Now() time.Time {
	if c.left.Load() > 0 && c.left.Add(-1) == 0 {
		c.do()
		c.ahead.Add(int64(time.Second))
	}
	return c.Clock.Now().Add(time.Duration(c.ahead.Load()))
}

// TestReleaseIsDatedBeforeItsFacts: whenever in a release a key is disabled, no
// release that still gives it is dated after that.
func TestReleaseIsDatedBeforeItsFacts(t *testing.T) {
	clk := &tripping{Clock: clock.System()}
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.Clock = clk }})
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	given := 0
	for n := range int64(12) {
		key := fmt.Sprintf("k%d", n)
		r.CreateKey(key, authority.AES256)
		var disabled int64
		clk.do = func() {
			r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf(key).ID})
			disabled = r.Replay().Time
		}
		clk.left.Store(n + 1)
		grant, _ := r.Release(app, key, "encrypt")
		clk.left.Store(0)
		if disabled == 0 || grant.Items[0].Decision != wire.DecisionAllowed {
			continue
		}
		given++
		if grant.Issued > disabled {
			t.Errorf("at reading %d: given at %d, disabled at %d", n+1, grant.Issued, disabled)
		}
	}
	t.Logf("%d releases gave a key that was disabled meanwhile", given)
}
