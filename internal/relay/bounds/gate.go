// SPDX-License-Identifier: Apache-2.0

package bounds

import "sync"

// Gate counts what goes on at once, in all and for each key. Safe for concurrent
// use.
type Gate[K comparable] struct {
	all, each int

	mu    sync.Mutex
	count int
	by    map[K]int
}

// NewGate makes a gate for all at once, 0 for any number, and each of one key.
func NewGate[K comparable](all, each int) *Gate[K] {
	return &Gate[K]{all: all, each: each, by: map[K]int{}}
}

// Enter reports whether one more may begin; Leave has to follow then.
func (g *Gate[K]) Enter(k K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all > 0 && g.count >= g.all || g.by[k] >= g.each {
		return false
	}
	g.count++
	g.by[k]++
	return true
}

// Leave ends what Enter began.
func (g *Gate[K]) Leave(k K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.by[k]--; g.by[k] == 0 {
		delete(g.by, k)
	}
}

// Running is how many go on now.
func (g *Gate[K]) Running() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}
