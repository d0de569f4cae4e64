// SPDX-License-Identifier: Apache-2.0

package bounds

import (
	"net"
	"net/netip"
)

// Place is the part of an address that one party is taken to own: all of an IPv4
// address, the first 64 bits of an IPv6 one.
func Place(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{} // no network that has addresses: all are one
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the bits fit the address
	return p
}
