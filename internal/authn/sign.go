// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// MaxSession is the longest life of a session key.
const MaxSession = wire.MaxSessionLife * time.Millisecond

// AdminSigner signs an admin's requests to one server.
type AdminSigner struct {
	Domain  wire.DomainID
	TLS     wire.Hash     // hash of the server's TLS SubjectPublicKeyInfo, from its descriptor
	Key     crypto.Signer // authority key, or session key
	Session []byte        // from NewSession with a session key; empty with an authority key
	Clock   clock.Clock
}

// Sign returns the value of the Authorization header for a request. target is
// path and query exactly as they will be sent.
func (s AdminSigner) Sign(method, target string, body []byte) (string, error) {
	req := wire.AdminRequest{
		Type: wire.TypeAdminRequest, Domain: s.Domain, TLS: s.TLS, Method: method, Target: target,
		Body: wire.BodyDigest(body), Issued: s.Clock.Now().UnixMilli(),
	}
	rand.Read(req.Nonce[:])
	signed, err := wire.Sign(wire.TypeAdminRequest, wire.Marshal(req), s.Key)
	if err != nil {
		return "", fmt.Errorf("sign admin request: %w", err)
	}
	return FormatAuthorization(signed, s.Session), nil
}

// NewSession makes a session key that may read for the given time, at most
// MaxSession, and the authority key's signed permission for it.
func NewSession(domain wire.DomainID, authority crypto.Signer, life time.Duration, clk clock.Clock) (ed25519.PrivateKey, []byte, error) {
	if life < time.Millisecond || life > MaxSession {
		return nil, nil, fmt.Errorf("make session: lifetime must be at most %v", MaxSession)
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make session key: %w", err)
	}
	now := clk.Now()
	session := wire.AdminSession{
		Type: wire.TypeAdminSession, Domain: domain, Key: pub,
		Issued: now.UnixMilli(), NotAfter: now.UnixMilli() + life.Milliseconds(),
	}
	signed, err := wire.Sign(wire.TypeAdminSession, wire.Marshal(session), authority)
	if err != nil {
		return nil, nil, fmt.Errorf("sign session: %w", err)
	}
	return key, signed, nil
}

const (
	authScheme = "Claviger "
	// maxAuthorization holds two messages of wire.MaxAdminRequest in base64.
	maxAuthorization = 2*(wire.MaxAdminRequest*4/3+4) + len(authScheme) + 1
)

var errAuthorization = errors.New("authorization header is not a Claviger signature")

// FormatAuthorization gives the Authorization header's value: "Claviger", the
// signed request and, after a dot, the session if there is one, both in base64
// (RFC 4648, section 5, no padding).
func FormatAuthorization(signed, session []byte) string {
	s := authScheme + base64.RawURLEncoding.EncodeToString(signed)
	if len(session) > 0 {
		s += "." + base64.RawURLEncoding.EncodeToString(session)
	}
	return s
}

// ParseAuthorization takes the header's value apart again. The error never
// repeats it.
func ParseAuthorization(value string) (signed, session []byte, err error) {
	rest, ok := strings.CutPrefix(value, authScheme)
	if !ok || len(value) > maxAuthorization {
		return nil, nil, errAuthorization
	}
	first, second, _ := strings.Cut(rest, ".")
	if signed, err = base64.RawURLEncoding.DecodeString(first); err != nil {
		return nil, nil, errAuthorization
	}
	if session, err = base64.RawURLEncoding.DecodeString(second); err != nil {
		return nil, nil, errAuthorization
	}
	// One spelling: the decoder skips line breaks and stray bits at the end.
	if len(signed) == 0 || FormatAuthorization(signed, session) != value {
		return nil, nil, errAuthorization
	}
	return signed, session, nil
}
