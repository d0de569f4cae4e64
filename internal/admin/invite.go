// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"

	"claviger/internal/wire"
)

const (
	invitePrefix = "clvadm1_"
	typeInvite   = "claviger/v1/admin-invite"
	maxInvite    = 2 << 10
	maxAddresses = 16
)

// Invite tells a profile which domain to pin and where its servers are. It is no
// secret, but whoever changes it on the way decides which domain that is.
type Invite struct {
	_         struct{} `cbor:",toarray"`
	Type      string   // set by Text
	Domain    wire.DomainID
	Members   wire.Hash // newest link of the member chain when it was written
	Demo      bool
	Addresses []string // host:port
}

// Text gives the invite as one line.
func (i Invite) Text() string {
	i.Type = typeInvite
	return wire.FormatText(invitePrefix, wire.Marshal(i))
}

// ParseInvite reads the line that Text wrote.
func ParseInvite(text string) (*Invite, error) {
	bad := fmt.Errorf("%w: this is no admin's invite (one starts with %s)", wire.ErrMalformed, invitePrefix)
	data, err := wire.ParseText(invitePrefix, text, 2*maxInvite)
	if err != nil {
		return nil, bad
	}
	var i Invite
	if err := wire.Unmarshal(data, &i, maxInvite); err != nil || i.Type != typeInvite || len(i.Addresses) > maxAddresses {
		return nil, bad
	}
	return &i, nil
}
