// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"claviger/internal/members"
	"claviger/internal/wire"
)

const (
	publicPrefix = "clvpub1_"
	invitePrefix = "clvadm1_"
	typeInvite   = "claviger/v1/admin-invite"
	maxInvite    = 2 << 10
	maxAddresses = 16
)

var errPublic = errors.New("this is no public key (one starts with " + publicPrefix + ")")

// FormatPublic gives a public key as text: clvpub1_ and the base64 (RFC 4648,
// section 5, no padding) of its PKIX SubjectPublicKeyInfo.
func FormatPublic(der []byte) string {
	return publicPrefix + base64.RawURLEncoding.EncodeToString(der)
}

// ParsePublic reads what FormatPublic wrote: the DER and the key, Ed25519 or
// ECDSA P-256.
func ParsePublic(text string) ([]byte, crypto.PublicKey, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), publicPrefix)
	if !ok || len(body) > 512 {
		return nil, nil, errPublic
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, nil, errPublic
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil || wire.KeyHash(pub).IsZero() {
		return nil, nil, errors.New("the public key is neither Ed25519 nor ECDSA P-256")
	}
	return der, pub, nil
}

// ParseNamedKey reads NAME=PUBKEY, the form in which an admin's key is handed to
// whoever founds a domain or adds the admin.
func ParseNamedKey(text string) (members.Key, error) {
	name, key, ok := strings.Cut(text, "=")
	if !ok || !wire.ValidNamePart(name) {
		return members.Key{}, errors.New("an admin is given as NAME=PUBKEY, the name in a-z 0-9 . _ -")
	}
	der, _, err := ParsePublic(key)
	if err != nil {
		return members.Key{}, err
	}
	return members.Key{Name: name, Public: der}, nil
}

// FormatNamedKey is the other side of ParseNamedKey.
func FormatNamedKey(k members.Key) string { return k.Name + "=" + FormatPublic(k.Public) }

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
	return invitePrefix + base64.RawURLEncoding.EncodeToString(wire.Marshal(i))
}

// ParseInvite reads the line that Text wrote.
func ParseInvite(text string) (*Invite, error) {
	bad := fmt.Errorf("%w: this is no admin's invite (one starts with %s)", wire.ErrMalformed, invitePrefix)
	body, ok := strings.CutPrefix(strings.TrimSpace(text), invitePrefix)
	if !ok || len(body) > 2*maxInvite {
		return nil, bad
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, bad
	}
	var i Invite
	if err := wire.Unmarshal(data, &i, maxInvite); err != nil || i.Type != typeInvite || len(i.Addresses) > maxAddresses {
		return nil, bad
	}
	return &i, nil
}
