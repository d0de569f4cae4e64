// SPDX-License-Identifier: Apache-2.0

// Package clientcert makes callers of client certificates at the doors: the subject
// is the SHA-256 of the certificate's public key, and nothing else that it says.
//
// [Caller] judges a finished handshake, in which the client has proved that it holds
// the key of the first certificate. Who signed that certificate isn't asked here:
// doors whose endpoint names roots have it verified in the handshake; elsewhere
// anybody may make one, and policy names the keys that it permits. So no name, no
// address and no serial number of the certificate is a claim.
//
// # Threats
//
// Only the first certificate counts: what follows it proves nothing, whatever other
// servers make of a list with an authority's certificate in front (T-12). One that
// has ended names nobody. The key must be one that signs: an ECDSA or Ed25519 key, or
// RSA of 2048 bits and more.
package clientcert

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"claviger/internal/authn"
	"claviger/internal/wire"
)

// minRSA bits of a key that names somebody.
const minRSA = 2048

// Caller makes the caller that a handshake's certificate names, at an endpoint of a
// kind. Its name within the endpoint, and its attribute certificate, are the
// [Identity] of the certificate. Errors: authn.ErrRefused.
func Caller(endpoint, kind string, state *tls.ConnectionState, now time.Time) (*authn.Caller, error) {
	if state == nil || !state.HandshakeComplete || state.Version < tls.VersionTLS12 {
		return nil, refused("no finished TLS handshake")
	}
	if len(state.PeerCertificates) == 0 {
		return nil, refused("no client certificate")
	}
	cert := state.PeerCertificates[0]
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, refused("the client certificate is not valid now")
	}
	if !strong(cert) {
		return nil, refused("the client certificate's key is weak or of an unknown kind")
	}
	id := Identity(cert)
	c := authn.SubjectCaller(authn.SubjectClaims{
		Endpoint: endpoint, EndpointKind: kind, Name: id.String(), Key: id, NotAfter: cert.NotAfter,
		Attributes: map[string]any{"certificate": id.String()},
	})
	if !c.Proved() {
		return nil, refused("the endpoint has no usable name")
	}
	return c, nil
}

// Identity is the SHA-256 of a certificate's public key as it stands there (PKIX,
// DER). Its text is hexadecimal in lower case, as MinIO's KES writes it.
func Identity(cert *x509.Certificate) wire.Hash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

func strong(cert *x509.Certificate) bool {
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA
	}
	return false
}

func refused(why string) error { return fmt.Errorf("%w: %s", authn.ErrRefused, why) }
