// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"net"

	"golang.org/x/sys/unix"
)

// hasPeers says that peer can tell.
const hasPeers = true

// peer is the user that the process at the other end ran as when it connected.
func peer(conn net.Conn) (uid int, ok bool) {
	c, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
