// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"sync"
)

// boundedListener keeps connections within their bounds: in all they wait, of one
// address they are closed, so that nobody can keep others waiting.
type boundedListener struct {
	net.Listener
	slots chan struct{}
	each  *gate[netip.Prefix]
	done  chan struct{}
	once  sync.Once
}

func bound(l net.Listener, all int, each *gate[netip.Prefix]) *boundedListener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, all), each: each, done: make(chan struct{})}
}

// Accept waits for a slot and then for a connection of an address that has room.
func (l *boundedListener) Accept() (net.Conn, error) {
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
		from := place(c.RemoteAddr().String())
		if l.each.enter(from) {
			return &boundedConn{Conn: c, release: sync.OnceFunc(func() { l.each.leave(from); <-l.slots })}, nil
		}
		c.Close()
	}
}

// Close wakes an Accept that waits for a slot, too.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	release func()
}

func (c *boundedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
