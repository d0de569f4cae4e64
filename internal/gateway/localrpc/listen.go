// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// maxConns bounds the connections of a socket; more wait.
const maxConns = 64

var (
	// ErrTaken means that another process answers on the socket.
	ErrTaken = errors.New("another process answers on this socket")
	// ErrSocket means that a text names no socket.
	ErrSocket = errors.New("a socket is /path or, on Linux, @name")
)

// Socket says where to listen.
type Socket struct {
	Address string // /path, @name of the abstract kind, or either with unix:// before it
	// Group, if not negative, is the group that may connect, besides the user that the
	// process runs as. The abstract kind has none.
	Group int
}

// parseSocket reads a socket's address: a path, or @name.
func parseSocket(s string) (string, error) {
	if rest, ok := strings.CutPrefix(s, "unix://"); ok {
		s = rest
		if name, ok := strings.CutPrefix(s, "/@"); ok { // as Kubernetes writes it
			s = "@" + name
		}
	}
	if len(s) < 2 || len(s) > 107 || s[0] != '/' && s[0] != '@' || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%w: %q", ErrSocket, s)
	}
	return s, nil
}

// Listen opens a socket that its user, and perhaps a group, may connect to. A socket
// that nobody answers on was left by a process that was killed, and is replaced.
func Listen(s Socket) (net.Listener, error) {
	address, err := parseSocket(s.Address)
	if err != nil {
		return nil, err
	}
	if address[0] == '@' {
		return listenAbstract(address, s.Group)
	}
	if err := clearStale(address); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := lock(address, s.Group); err != nil {
		l.Close()
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return bounded(l, nil), nil
}

// clearStale removes a socket that nobody answers on.
func clearStale(path string) error {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("open socket %s: %w", path, ErrTaken)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil // it isn't there, or Listen says what is wrong
	}
	// Security: a path that was mistyped must cost nobody a file.
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("open socket %s: there is something else", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a process that was killed: %w", err)
	}
	return nil
}

// lock gives a socket its mode: first to the user alone, then to the group.
func lock(path string, group int) error {
	if err := os.Chmod(path, 0o600); err != nil || group < 0 {
		return err
	}
	if err := os.Lchown(path, -1, group); err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}

func listenAbstract(address string, group int) (net.Listener, error) {
	if group >= 0 {
		return nil, errors.New("open socket: one of the abstract kind has no group")
	}
	if !hasPeers {
		return nil, errors.New("open socket: the abstract kind is of Linux only")
	}
	l, err := net.Listen("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("open socket %s: %w", address, ErrTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	// Security: everybody on the machine can connect to it.
	return bounded(l, func(uid int) bool { return uid == 0 || uid == os.Getuid() }), nil
}

// boundedListener accepts up to so many connections at a time, from whom it may.
type boundedListener struct {
	net.Listener
	free  chan struct{}
	admit func(uid int) bool // nil: the socket's mode has admitted
	once  sync.Once
	done  chan struct{}
}

func bounded(l net.Listener, admit func(int) bool) net.Listener {
	return &boundedListener{Listener: l, free: make(chan struct{}, maxConns), admit: admit, done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		select {
		case l.free <- struct{}{}:
		case <-l.done:
			return nil, net.ErrClosed
		}
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.free
			return nil, err
		}
		if l.admit != nil {
			if uid, ok := peer(conn); !ok || !l.admit(uid) {
				conn.Close()
				<-l.free
				continue
			}
		}
		return &boundedConn{Conn: conn, free: l.free}, nil
	}
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
