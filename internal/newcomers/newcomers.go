// SPDX-License-Identifier: Apache-2.0

// Package newcomers lets an HTTP server stop at once: [Set] knows the connections
// on which nothing has been asked yet, and [Set.Cut] closes them.
//
// net/http waits five seconds for each such connection when it stops, in case a
// question is on its way. Clients open some ahead of need, so there nearly always
// is one; they ask again, elsewhere, when one is cut. Connections with a question
// on them are left to http.Server.Shutdown.
package newcomers

import (
	"net"
	"net/http"
	"sync"
)

// Set is safe for concurrent use. The zero value is empty and ready.
type Set struct {
	mu      sync.Mutex
	waiting map[net.Conn]struct{}
	ended   bool
}

// State is an http.Server's ConnState.
func (n *Set) State(c net.Conn, s http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case s != http.StateNew:
		delete(n.waiting, c)
	case n.ended:
		c.Close()
	default:
		if n.waiting == nil {
			n.waiting = map[net.Conn]struct{}{}
		}
		n.waiting[c] = struct{}{}
	}
}

// Cut closes them, and each that comes later. It is called before Shutdown.
func (n *Set) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	for c := range n.waiting {
		c.Close()
	}
	clear(n.waiting)
}
