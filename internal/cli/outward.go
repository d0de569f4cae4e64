// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net"
	"slices"

	"claviger/internal/admin"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/outward"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// carriers makes the server's mailbox, new at each start and in memory only, and
// opens the relays and directories of the configuration for it.
func carriers(c serverConfig, o *keyserver.Options) ([]outward.Carrier, error) {
	addresses, err := c.relays()
	if err != nil || len(addresses) == 0 {
		return nil, err
	}
	mailbox := transport.NewMailbox()
	o.Mailbox = mailbox.ID()
	var out []outward.Carrier
	for _, a := range addresses {
		o.Reach = append(o.Reach, a.String())
		if a.Kind == transport.KindDirectory {
			d, err := transport.NewDirectory(a, o.Domain, transport.Options{Clock: o.Clock})
			if err != nil {
				return nil, err
			}
			out = append(out, d.As(mailbox))
			continue
		}
		r, err := transport.NewRelay(a, o.Domain, transport.Options{Clock: o.Clock})
		if err != nil {
			return nil, err
		}
		out = append(out, r.As(mailbox))
	}
	return out, nil
}

// hangUp closes the lines to relays that the server has stopped using, so that
// those don't wait for them when they stop as well.
func hangUp(all []outward.Carrier) {
	for _, c := range all {
		if c, ok := c.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// addReach puts into an invite where the server stands besides its port, and the
// send token for there. Ports of this machine go then: whoever is invited may be
// elsewhere.
func addReach(invite *wire.Invite, relays []string, token []byte) error {
	if len(relays) == 0 {
		return nil
	}
	if len(relays) > maxRelays || len(token) != wire.SendTokenSize {
		return fmt.Errorf("%w: the server's answer about relays", admin.ErrIntegrity)
	}
	all := slices.DeleteFunc(slices.Clone(invite.Addresses), loopback)
	for _, text := range relays {
		a, err := transport.ParseAddress(text)
		if err != nil {
			return fmt.Errorf("%w: the server's answer about relays: %w", admin.ErrIntegrity, err)
		}
		all = append(all, a.String())
	}
	invite.Addresses, invite.SendToken = all, token
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
