// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"net"
	"sync"
)

// limited is a listener with places.
type limited struct {
	net.Listener
	places chan struct{}
	over   chan struct{}
	once   sync.Once
}

// Listener returns l with a bound on the connections that are open at once, so
// that idle ones can't take every file descriptor from journal and store.
func Listener(l net.Listener, most int) net.Listener {
	return &limited{Listener: l, places: make(chan struct{}, most), over: make(chan struct{})}
}

// Accept waits for a place first: whoever comes later waits in the kernel.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.over:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.over) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
