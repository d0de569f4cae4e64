// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"net"
	"net/netip"
	"sync"
)

// listener keeps connections within their bounds.
type listener struct {
	net.Listener
	slots chan struct{}
	each  *Gate[netip.Prefix]
	done  chan struct{}
	once  sync.Once
}

// Listen keeps the connections of a listener within their bounds: beyond all of
// them they wait, beyond those of one address they are closed, so that nobody can
// keep others waiting.
func Listen(l net.Listener, all int, each *Gate[netip.Prefix]) net.Listener {
	return &listener{Listener: l, slots: make(chan struct{}, all), each: each, done: make(chan struct{})}
}

// Accept waits for a slot and then for a connection of an address that has room.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		from := Place(c.RemoteAddr().String())
		if l.each.Enter(from) {
			return &conn{Conn: c, release: sync.OnceFunc(func() { l.each.Leave(from); <-l.slots })}, nil
		}
		c.Close()
	}
}

// Close wakes an Accept that waits for a slot, too.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type conn struct {
	net.Conn
	release func()
}

func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
