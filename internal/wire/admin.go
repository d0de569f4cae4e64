// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto"
	"fmt"
)

// Type strings of admins' requests.
const (
	TypeAdminRequest = "claviger/v1/admin-request"
	TypeAdminSession = "claviger/v1/admin-session"
)

// Limits.
const (
	MaxAdminRequest = 4 << 10
	MaxSessionLife  = 8 * 3600 * 1000 // milliseconds of a session key
)

// AdminRequest is the signed part of an admin's HTTP request. It is bound to
// the server's TLS key, so that no other server can pass it on, and signed by
// the authority key or by a session key.
type AdminRequest struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // TypeAdminRequest
	Domain DomainID
	TLS    Hash   // SHA-256 of the server's TLS SubjectPublicKeyInfo
	Method string // HTTP method
	Target string // path and query as sent
	Body   Hash   // Sum("http-body", body)
	Nonce  [16]byte
	Issued int64 // Unix milliseconds
}

// AdminSession is an authority key's permission for a session key to read for
// some hours.
type AdminSession struct {
	_        struct{} `cbor:",toarray"`
	Type     string   // TypeAdminSession
	Domain   DomainID
	Key      []byte // Ed25519 public key, 32 bytes
	Issued   int64  // Unix milliseconds
	NotAfter int64  // Unix milliseconds, at most 8 hours after Issued
}

// BodyDigest is the hash of an HTTP body in an AdminRequest.
func BodyDigest(body []byte) Hash { return Sum("http-body", body) }

// ParseAdminRequest reads the payload of a signed admin request.
func ParseAdminRequest(payload []byte) (*AdminRequest, error) {
	var r AdminRequest
	if err := Unmarshal(payload, &r, MaxAdminRequest); err != nil {
		return nil, err
	}
	if r.Type != TypeAdminRequest || len(r.Method) > 8 || len(r.Target) > 2048 || !validTime(r.Issued) {
		return nil, fmt.Errorf("%w: admin request", ErrMalformed)
	}
	return &r, nil
}

// ParseAdminSession verifies a session with the authority key that signed it.
func ParseAdminSession(signed []byte, key crypto.PublicKey) (*AdminSession, error) {
	var s AdminSession
	if err := openSigned(TypeAdminSession, signed, MaxAdminRequest, key, &s); err != nil {
		return nil, err
	}
	life := s.NotAfter - s.Issued
	if s.Type != TypeAdminSession || len(s.Key) != 32 || !validTime(s.Issued) || life <= 0 || life > MaxSessionLife {
		return nil, fmt.Errorf("%w: admin session", ErrMalformed)
	}
	return &s, nil
}
