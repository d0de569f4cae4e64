// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ShortLived is the longest certificate lifetime for which an outside anchor
// needs no revocation list.
const ShortLived = 24 * time.Hour

// maxCAs bounds the roots, and the intermediates, of one anchor.
const maxCAs = 64

// Anchor is one entry of the domain's trust anchors: whose certificates count
// for which names.
type Anchor struct {
	// Prefix is the SPIFFE prefix the anchor speaks for, with a slash at the
	// end: "spiffe://acme.example/workload/" or "…/workload/batch/". Its trust
	// domain need not be the domain's own.
	Prefix string
	// Embedded marks the CA of the key servers themselves. Its prefix is
	// EmbeddedPrefix of the trust domain, and its certificates need no CRL: the
	// authority log is its revocation list.
	Embedded bool
	// Roots are CA certificates that are trusted as they are. They need not be
	// self-signed: an issuing CA can be pinned below its root.
	Roots []*x509.Certificate
	// Intermediates help to build chains that were stapled incompletely. They
	// carry no trust of their own.
	Intermediates []*x509.Certificate
	// CRLs are DER revocation lists (RFC 5280, section 5), at most one per
	// issuing CA and key. An outside anchor without them is valid, but refuses
	// every certificate unless MaxLifetime is in (0, ShortLived].
	CRLs [][]byte
	// MaxLifetime is the longest NotAfter − NotBefore of a leaf; zero means no
	// limit. Between 1 ns and ShortLived it also says that no CRL is needed.
	MaxLifetime time.Duration
}

// anchor is a checked Anchor.
type anchor struct {
	prefix        string
	roots         *x509.CertPool
	intermediates *x509.CertPool
	maxLifetime   time.Duration
	embedded      bool
	needCRL       bool
	crls          []*crl
}

func newAnchor(trustDomain string, a Anchor) (*anchor, error) {
	name, err := checkPrefix(a.Prefix)
	if err != nil {
		return nil, err
	}
	if a.Embedded && name != (Name{TrustDomain: trustDomain}) {
		return nil, errors.New("the embedded CA speaks for spiffe://DOMAIN/workload/ of its own domain and nothing else")
	}
	if a.MaxLifetime < 0 {
		return nil, errors.New("negative certificate lifetime")
	}
	roots, err := caPool(a.Roots)
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	if len(a.Roots) == 0 {
		return nil, errors.New("no root certificate")
	}
	intermediates, err := caPool(a.Intermediates)
	if err != nil {
		return nil, fmt.Errorf("intermediates: %w", err)
	}
	short := a.MaxLifetime > 0 && a.MaxLifetime <= ShortLived
	checked := &anchor{
		prefix: a.Prefix, roots: roots, intermediates: intermediates, maxLifetime: a.MaxLifetime,
		embedded: a.Embedded, needCRL: !a.Embedded && !short,
	}
	if len(a.CRLs) == 0 {
		return checked, nil
	}
	return checked.withCRLs(a.CRLs)
}

// withCRLs returns a copy of a with these lists. Having lists means needing
// them from then on, whatever the lifetime.
func (a *anchor) withCRLs(ders [][]byte) (*anchor, error) {
	if a.embedded {
		return nil, errors.New("the embedded CA has no revocation list: the authority log revokes")
	}
	lists, err := parseCRLs(ders)
	if err != nil {
		return nil, err
	}
	for _, old := range a.crls {
		if slices.ContainsFunc(lists, func(l *crl) bool { return l.replaces(old) && l.list.ThisUpdate.Before(old.list.ThisUpdate) }) {
			return nil, errors.New("older than the list in use")
		}
	}
	changed := *a
	changed.crls = lists
	changed.needCRL = a.needCRL || len(lists) > 0
	return &changed, nil
}

// caPool refuses what crypto/x509 would take as a root without a question: a
// certificate that isn't a CA's. Pinning a leaf by mistake then can't work.
func caPool(certs []*x509.Certificate) (*x509.CertPool, error) {
	if len(certs) > maxCAs {
		return nil, fmt.Errorf("more than %d certificates", maxCAs)
	}
	pool := x509.NewCertPool()
	for i, c := range certs {
		if c == nil || len(c.Raw) == 0 || !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("certificate %d is not a CA's", i+1)
		}
		if !caKey(c.PublicKey) {
			return nil, fmt.Errorf("certificate %d: %s", i+1, WrongKey)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

// caKey says which keys may sign certificates. The upper bound of RSA keeps a
// stapled CA from making one signature check expensive.
func caKey(pub any) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return true
	default:
		return false
	}
}

// leafKey says which keys may sign requests: the two kinds of package wire.
func leafKey(pub any) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	default:
		return false
	}
}
