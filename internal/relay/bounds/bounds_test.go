// SPDX-License-Identifier: Apache-2.0

package bounds_test

import (
	"testing"
	"time"

	"claviger/internal/relay/bounds"
)

// TestRates: a burst, then what the rate gives, for each party apart.
func TestRates(t *testing.T) {
	r := bounds.NewRates[string](2, 3)
	taken := func(key string, at time.Duration) (n int) {
		for n < 100 && r.Take(key, at) {
			n++
		}
		return n
	}
	if got := taken("a", time.Second); got != 3 {
		t.Errorf("at first %d were taken, the burst is 3", got)
	}
	if got := taken("b", time.Second); got != 3 {
		t.Errorf("another party took %d: the first one's flood counts for it", got)
	}
	if got := taken("a", 2*time.Second); got != 2 {
		t.Errorf("after a second %d were taken, 2 have come", got)
	}
	r.Refund("a", 2*time.Second)
	if got := taken("a", 2*time.Second); got != 1 {
		t.Errorf("after a refund %d were taken", got)
	}
	if got := taken("a", time.Hour); got != 3 {
		t.Errorf("after an hour %d were taken, more than the burst never is", got)
	}
}

// TestGate: so many of one, so many in all, and room again after one has left.
func TestGate(t *testing.T) {
	g := bounds.NewGate[string](3, 2)
	for i, step := range []struct {
		key  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}} {
		if got := g.Enter(step.key); got != step.want {
			t.Errorf("step %d, %s: %t", i, step.key, got)
		}
	}
	g.Leave("a")
	if !g.Enter("b") || g.Running() != 3 {
		t.Errorf("one has left, and %d run", g.Running())
	}
	free := bounds.NewGate[string](0, 1)
	for _, key := range []string{"a", "b", "c", "d"} {
		if !free.Enter(key) {
			t.Errorf("%s is kept out of a gate without a bound for all", key)
		}
	}
}

// TestPlace: one party owns an IPv4 address, or a /64.
func TestPlace(t *testing.T) {
	for _, pair := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:80", "192.0.2.1:81", true}, {"192.0.2.1:80", "192.0.2.2:80", false},
		{"[2001:db8::1]:80", "[2001:db8::ffff]:80", true}, {"[2001:db8:0:1::1]:80", "[2001:db8::1]:80", false},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80", true}, {"[fe80::1%eth0]:80", "[fe80::1%eth1]:80", true},
	} {
		if same := bounds.Place(pair.a) == bounds.Place(pair.b); same != pair.same {
			t.Errorf("%s and %s: one place: %t", pair.a, pair.b, same)
		}
	}
}
