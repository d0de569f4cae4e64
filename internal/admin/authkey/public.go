// SPDX-License-Identifier: Apache-2.0

package authkey

import (
	"crypto"
	"crypto/x509"
	"errors"
	"strings"

	"claviger/internal/members"
	"claviger/internal/wire"
)

const publicPrefix = "clvpub1_"

var errPublic = errors.New("this is no public key (one starts with " + publicPrefix + ")")

// FormatPublic gives a public key as text: clvpub1_ and the base64 (RFC 4648,
// section 5, no padding) of its PKIX SubjectPublicKeyInfo.
func FormatPublic(der []byte) string {
	return wire.FormatText(publicPrefix, der)
}

// ParsePublic reads what FormatPublic wrote: the DER and the key, Ed25519 or
// ECDSA P-256.
func ParsePublic(text string) ([]byte, crypto.PublicKey, error) {
	der, err := wire.ParseText(publicPrefix, text, 512)
	if err != nil {
		return nil, nil, errPublic
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil || wire.KeyHash(pub).IsZero() {
		return nil, nil, errors.New("the public key is neither Ed25519 nor ECDSA P-256")
	}
	return der, pub, nil
}

// ParseNamed reads NAME=PUBKEY, the form in which an admin's key is handed to
// whoever founds a domain or adds the admin.
func ParseNamed(text string) (members.Key, error) {
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

// FormatNamed is the other side of ParseNamed.
func FormatNamed(k members.Key) string { return k.Name + "=" + FormatPublic(k.Public) }
