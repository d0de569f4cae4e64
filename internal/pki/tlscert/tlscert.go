// SPDX-License-Identifier: Apache-2.0

// Package tlscert is the TLS of the native API: a server certificate that
// proves one key and nothing else, and a client that pins that key.
//
//   - Servers: SelfSigned at each start, ServerConfig for the listener.
//   - Clients: ClientConfig with the hash that stands in the server's signed
//     descriptor.
//
// No CA, DNS name, address or date counts: the descriptor, signed by a joined
// server's key and followed by the member chain, says which TLS key is right.
// A name in the certificate would only invite somebody to believe it.
//
// The server asks clients for a certificate and takes any, or none: package pki
// judges chains, per request and with the domain's anchors, and enrolment and
// health need no certificate. TLS proves that the client holds the leaf's key.
package tlscert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"claviger/internal/clock"
)

// ErrPin means that the server at the other end holds another key than the one
// pinned: it is not the server that signed the descriptor, or an old one.
var ErrPin = errors.New("server's TLS key is not the pinned one")

// lifetime of a self-signed certificate. Clients here ignore it; a month covers
// the longest run that anybody inspects with other tools.
const lifetime = 31 * 24 * time.Hour

// SelfSigned makes a new ECDSA P-256 key with a certificate, and returns the
// SHA-256 of its PKIX SubjectPublicKeyInfo (DER), which goes into the
// descriptor.
func SelfSigned(clk clock.Clock) (cert tls.Certificate, spkiHash [32]byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, spkiHash, fmt.Errorf("make TLS key: %w", err)
	}
	now := clk.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1), // one certificate per key
		Subject:               pkix.Name{CommonName: "claviger"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, spkiHash, fmt.Errorf("make TLS certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, spkiHash, fmt.Errorf("make TLS certificate: %w", err)
	}
	cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return cert, sha256.Sum256(leaf.RawSubjectPublicKeyInfo), nil
}

// ServerConfig returns the listener's configuration: TLS 1.3 only, any client
// certificate asked for and none required.
func ServerConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequestClientCert,
		// A resumed session would carry a client certificate that was judged by
		// an earlier run of a server with other anchors in mind, and saves little
		// where connections live long.
		SessionTicketsDisabled: true,
	}
}

// ClientConfig returns a configuration that accepts the server whose key has
// this hash, whatever else its certificate says, and no other; failed dials
// match [ErrPin]. identity is the client's own certificate, nil for none.
func ClientConfig(spkiHash [32]byte, identity *tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Security: this switches off the checks of names and CAs, which prove
		// nothing here. VerifyConnection below takes their place; unlike
		// VerifyPeerCertificate it runs on resumed sessions too.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return ErrPin
			}
			got := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare(got[:], spkiHash[:]) != 1 {
				return ErrPin
			}
			return nil
		},
	}
	if identity != nil {
		// Not Certificates: with that, a client whose CA the server doesn't name
		// in its request would silently send nothing.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return identity, nil }
	}
	return cfg
}
