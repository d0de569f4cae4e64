// SPDX-License-Identifier: Apache-2.0

// Package ca is the embedded certificate authority of the key servers: it gives
// workloads the certificates that package pki accepts. Only servers import it.
//
// New makes the CA from 64 bytes that custody derives from the root secret.
// Its key, name and certificate follow from the seed alone, byte for byte, so
// every server of a domain and every restart has the same CA without storing or
// copying a private key. A new root generation gives a new CA beside the old
// one: put the certificates of both into the embedded anchor.
//
// Issue signs for a name that the caller has decided on. Whatever the
// certificate request asks for besides its key is ignored. The CA keeps no
// list of what it issued and no revocation list: the enrolment is written to
// the authority log before Issue is called, and that log revokes names.
//
// Threats: who holds the root secret holds this CA. The certificate constrains
// the CA to the domain's SPIFFE names and to end certificates, so that a program
// that trusts it by mistake for more is not lost. The private key lies in
// ordinary process memory, because crypto/ecdsa takes it no other way.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// SeedSize is the size in bytes of the seed that [New] takes.
const SeedSize = 64

// Lifetimes of issued certificates.
const (
	DefaultTTL = 24 * time.Hour
	MinTTL     = time.Minute
	MaxTTL     = 90 * 24 * time.Hour
)

// backdate moves NotBefore back, for verifiers whose clocks are behind.
const backdate = time.Minute

// CA issues workload certificates of one domain and root generation. It is safe
// for concurrent use.
type CA struct {
	trustDomain string
	key         *ecdsa.PrivateKey
	root        *x509.Certificate
	clock       clock.Clock
}

// New makes the CA of a domain from SeedSize bytes of root-derived secret. The
// caller keeps (and wipes) the seed.
func New(trustDomain string, seed *secret.Bytes, clk clock.Clock) (*CA, error) {
	if err := pki.CheckTrustDomain(trustDomain); err != nil {
		return nil, fmt.Errorf("make embedded CA: %w", err)
	}
	key, err := deriveKey(seed)
	if err != nil {
		return nil, fmt.Errorf("make embedded CA: %w", err)
	}
	root, err := selfSign(trustDomain, key)
	if err != nil {
		return nil, fmt.Errorf("make embedded CA: %w", err)
	}
	return &CA{trustDomain: trustDomain, key: key, root: root, clock: clk}, nil
}

// Root returns the CA's certificate. Callers must not change it.
func (c *CA) Root() *x509.Certificate { return c.root }

// Anchor returns the trust anchor of this CA and of earlier ones of the same
// domain, whose certificates run on after a change of the root.
func (c *CA) Anchor(earlier ...*CA) (pki.Anchor, error) {
	prefix, err := pki.EmbeddedPrefix(c.trustDomain)
	if err != nil {
		return pki.Anchor{}, err
	}
	roots := []*x509.Certificate{c.root}
	for _, e := range earlier {
		roots = append(roots, e.root)
	}
	return pki.Anchor{Prefix: prefix, Embedded: true, Roots: roots}, nil
}

// Issue returns a chain (DER, leaf first; the root is left out) that names id,
// for the key of a PKCS #10 request. The caller has verified that whoever sent
// the request may have this name; Issue holds that the request is signed by its
// own key, that the key is Ed25519 or P-256, and that id is a workload of the
// CA's domain. Every name the request itself asks for is ignored. A ttl of zero
// means DefaultTTL; others are from MinTTL to MaxTTL.
func (c *CA) Issue(csrDER []byte, id string, ttl time.Duration) (chain [][]byte, err error) {
	name, err := pki.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	if name.TrustDomain != c.trustDomain {
		return nil, errors.New("issue certificate: the name lies in another trust domain")
	}
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if ttl < MinTTL || ttl > MaxTTL {
		return nil, fmt.Errorf("issue certificate: lifetime must be from %v to %v", MinTTL, MaxTTL)
	}
	pub, err := requestKey(csrDER)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	now := c.clock.Now()
	leaf := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(ttl),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: name.TrustDomain, Path: "/workload/" + name.Path}},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.root, pub, c.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return [][]byte{der}, nil
}

// requestKey reads the key of a certificate request and checks the proof that
// the sender holds it (RFC 2986, section 4.2).
func requestKey(csrDER []byte) (crypto.PublicKey, error) {
	if len(csrDER) > wire.MaxCSR {
		return nil, fmt.Errorf("certificate request is larger than %d bytes", wire.MaxCSR)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, errors.New("certificate request is malformed")
	}
	// The kind of key is judged first: checking an RSA signature of any size
	// would be the sender's to choose.
	if wire.KeyHash(csr.PublicKey).IsZero() {
		return nil, errors.New("certificate request's key is neither Ed25519 nor ECDSA P-256")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("certificate request is not signed by its own key")
	}
	return csr.PublicKey, nil
}

// serial returns 159 random bits: positive and at most 20 bytes (RFC 5280,
// section 4.1.2.2).
func serial() *big.Int {
	var b [20]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	b[19] |= 1 // zero is not a serial number
	return new(big.Int).SetBytes(b[:])
}

// selfSign makes the CA's certificate. Nothing in it depends on time or chance.
func selfSign(trustDomain string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(spki)
	hash[0] = hash[0]&0x7f | 0x40 // a positive serial of exactly 20 bytes
	root := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(hash[:20]),
		// The name holds the key's hash: CAs of two root generations must not
		// look like one.
		Subject:   pkix.Name{CommonName: fmt.Sprintf("Claviger workload CA %x", hash[20:28])},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		// "No well-defined end" (RFC 5280, section 4.1.2.5): the CA ends with the
		// root generation, which no date foretells.
		NotAfter:                    time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true, // marks all name constraints
		PermittedURIDomains:         []string{trustDomain},
	}
	// Without a source of randomness ECDSA signs as RFC 6979 does, so that one
	// key gives one certificate.
	der, err := x509.CreateCertificate(nil, root, root, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
