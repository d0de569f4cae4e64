// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"time"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Skew is how far an admin's clock may be from the server's, either way.
const Skew = 60 * time.Second

// Admins knows the keys of people that count now; *members.State does.
type Admins interface {
	// Admin returns the admin whose authority key has this hash, and the key.
	Admin(key wire.Hash) (members.Key, crypto.PublicKey, bool)
	// Recoverer returns the holder of the recovery quorum likewise.
	Recoverer(key wire.Hash) (members.Key, crypto.PublicKey, bool)
}

// holder finds whose key has a hash, and under which name the caller goes. Who is an admin is one before all else.
func holder(admins Admins, kid wire.Hash) (Kind, string, crypto.PublicKey) {
	if k, pub, ok := admins.Admin(kid); ok {
		return Admin, k.Name, pub
	}
	if k, pub, ok := admins.Recoverer(kid); ok {
		return Recovery, "recovery/" + k.Name, pub
	}
	return Unknown, "", nil
}

// AdminRequest is an admin's HTTP request as the server received it.
type AdminRequest struct {
	Signed  []byte // the signed wire.AdminRequest
	Session []byte // the signed wire.AdminSession; empty if an authority key signed
	Method  string // as sent
	Target  string // path and query as sent: http.Request.RequestURI
	Body    []byte
}

// AdminVerifier judges admins' requests to one server. It remembers nonces, so
// there is one per server and TLS key, and it is safe for concurrent use. With
// a new TLS key at each start, requests of an earlier run are void.
type AdminVerifier struct {
	domain wire.DomainID
	tls    wire.Hash
	clock  clock.Clock
	nonces *nonces
}

// NewAdminVerifier returns a verifier for requests to the domain's server with
// this TLS key (hash of its SubjectPublicKeyInfo).
func NewAdminVerifier(domain wire.DomainID, tlsKey wire.Hash, clk clock.Clock) *AdminVerifier {
	return &AdminVerifier{domain: domain, tls: tlsKey, clock: clk, nonces: newNonces(clk)}
}

// Verify judges one request against the admins and revocations of the present
// state. Each signed request is accepted once. The Caller is an Admin, or a
// Recovery where a key of the recovery quorum is behind the request.
func (v *AdminVerifier) Verify(admins Admins, revoked Revocations, r AdminRequest) (*Caller, error) {
	signed, err := wire.ParseSigned(wire.TypeAdminRequest, r.Signed, wire.MaxAdminRequest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(signed.Signatures) != 1 {
		return nil, refused("not one signature")
	}
	who, err := v.signer(admins, signed.Signatures[0].KID, r)
	if err != nil {
		return nil, err
	}
	if err := signed.Verify(who.pub); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	req, err := wire.ParseAdminRequest(signed.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	now := v.clock.Now()
	if err := v.bound(req, r, now); err != nil {
		return nil, err
	}
	if revoked.Revoked(who.name) {
		return nil, fmt.Errorf("%w: %w: %s", ErrRefused, ErrRevoked, who.name)
	}
	// Last: only what is otherwise good may take room in the memory of nonces.
	if err := v.nonces.use(who.bucket, req.Nonce, req.Issued); err != nil {
		return nil, err
	}
	return &Caller{
		Kind: who.kind, ID: who.name, Attributes: map[string]any{"key": who.bucket.key.String()},
		Key: wire.KeyHash(who.pub), ReadOnly: who.bucket.session, NotAfter: who.notAfter, proved: true,
	}, nil
}

// adminKey is the key that must have signed a request.
type adminKey struct {
	kind     Kind
	name     string
	pub      crypto.PublicKey
	bucket   bucketKey
	notAfter time.Time
}

// signer finds the key that a request must be signed with: an authority key, one
// of the recovery quorum, or the session's.
func (v *AdminVerifier) signer(admins Admins, kid wire.Hash, r AdminRequest) (adminKey, error) {
	if len(r.Session) > 0 {
		return v.session(admins, r)
	}
	kind, name, pub := holder(admins, kid)
	if kind == Unknown {
		return adminKey{}, refused("neither an authority key nor one of the recovery quorum")
	}
	// A single request is all that its key proves.
	return adminKey{kind: kind, name: name, pub: pub, bucket: bucketKey{key: kid}, notAfter: v.clock.Now().Add(Skew)}, nil
}

func (v *AdminVerifier) session(admins Admins, r AdminRequest) (adminKey, error) {
	// Security: the method is the server's word on what is only a read; the
	// choke point refuses writes of a ReadOnly caller once more (T-34).
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return adminKey{}, refused("a session key may only read")
	}
	signed, err := wire.ParseSigned(wire.TypeAdminSession, r.Session, wire.MaxAdminRequest)
	if err != nil {
		return adminKey{}, fmt.Errorf("%w: session: %w", ErrRefused, err)
	}
	if len(signed.Signatures) != 1 {
		return adminKey{}, refused("session without one signature")
	}
	kid := signed.Signatures[0].KID
	kind, name, pub := holder(admins, kid)
	if kind == Unknown {
		return adminKey{}, refused("session of a key that is neither an authority key nor one of the recovery quorum")
	}
	s, err := wire.ParseAdminSession(r.Session, pub)
	if err != nil {
		return adminKey{}, fmt.Errorf("%w: session: %w", ErrRefused, err)
	}
	now := v.clock.Now()
	end := time.UnixMilli(s.NotAfter)
	switch {
	case s.Domain != v.domain:
		return adminKey{}, refused("session of another trust domain")
	case time.UnixMilli(s.Issued).After(now.Add(Skew)):
		return adminKey{}, refused("session not yet valid")
	case !now.Before(end):
		return adminKey{}, refused("session ended")
	}
	key := ed25519.PublicKey(s.Key)
	// One admin's session must not give another's signature a second meaning.
	if other, _, _ := holder(admins, wire.KeyHash(key)); other != Unknown {
		return adminKey{}, refused("an authority key is no session key")
	}
	return adminKey{kind: kind, name: name, pub: key, bucket: bucketKey{key: kid, session: true}, notAfter: end}, nil
}

// bound holds that the signed request is the one that came, at this server, now.
func (v *AdminVerifier) bound(req *wire.AdminRequest, r AdminRequest, now time.Time) error {
	off := now.Sub(time.UnixMilli(req.Issued))
	switch {
	case req.Domain != v.domain:
		return refused("for another trust domain")
	case req.TLS != v.tls:
		return refused("for another server")
	case req.Method != r.Method || req.Target != r.Target:
		return refused("for another method or target")
	case req.Body != wire.BodyDigest(r.Body):
		return refused("for another body")
	case off > Skew || off < -Skew:
		return refused("the clocks differ by more than a minute, or the request is old")
	}
	return nil
}
