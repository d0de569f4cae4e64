// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net"
	"net/http"
	"sync"
)

// newcomers are connections on which nothing has been asked yet. net/http waits
// five seconds for each when it stops, in case a question is on its way; clients
// open such ahead of need, and ask again elsewhere when they are cut.
type newcomers struct {
	mu      sync.Mutex
	waiting map[net.Conn]struct{}
	ended   bool
}

// state is an http.Server's ConnState.
func (n *newcomers) state(c net.Conn, s http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case s != http.StateNew:
		delete(n.waiting, c)
	case n.ended:
		c.Close()
	default:
		n.waiting[c] = struct{}{}
	}
}

// cut closes them, and each that comes later.
func (n *newcomers) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	for c := range n.waiting {
		c.Close()
	}
	clear(n.waiting)
}
