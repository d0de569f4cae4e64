// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a stapled chain, checked before anything is parsed.
const (
	MaxChain      = 10       // certificates
	MaxChainBytes = 64 << 10 // all together
)

// Verifier judges chains against the trust anchors of one domain. It never
// changes after NewVerifier and is safe for concurrent use.
type Verifier struct {
	trustDomain string
	anchors     []*anchor
}

// Identity is what a verified chain proved.
type Identity struct {
	// ID is the SPIFFE id. Decisions, revocations and logs use this.
	ID string
	// Path is the short name below spiffe://DOMAIN/workload/ of the verifier's
	// own trust domain, and empty for names of other trust domains: a short name
	// never stands for a foreign workload.
	Path string
	// Leaf is the workload's certificate; its PublicKey is Ed25519 or P-256.
	Leaf *x509.Certificate
	// Anchor is the prefix of the anchor that vouched.
	Anchor string
	// NotAfter is how long the verdict may be kept: the first end of validity in
	// the chain, or the next update of a revocation list if that is earlier.
	NotAfter time.Time
}

// NewVerifier checks the anchors of the domain trustDomain. It refuses prefixes
// that overlap, anchors without a root, roots that aren't CAs, and unreadable
// revocation lists. With no anchors at all every chain is refused.
func NewVerifier(trustDomain string, anchors []Anchor) (*Verifier, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return nil, fmt.Errorf("read trust anchors: %w", err)
	}
	v := &Verifier{trustDomain: trustDomain}
	for i, a := range anchors {
		checked, err := newAnchor(trustDomain, a)
		if err != nil {
			return nil, fmt.Errorf("read trust anchor %d: %w", i+1, err)
		}
		for _, other := range v.anchors {
			if strings.HasPrefix(checked.prefix, other.prefix) || strings.HasPrefix(other.prefix, checked.prefix) {
				return nil, fmt.Errorf("read trust anchor %d: prefix overlaps with %s", i+1, other.prefix)
			}
		}
		v.anchors = append(v.anchors, checked)
	}
	return v, nil
}

// WithCRLs returns a verifier in which the anchor of that prefix has these
// revocation lists (DER) instead of its old ones. A list that is older than the
// one held from the same issuer is refused: otherwise whoever hands in files
// could bring a revoked certificate back.
func (v *Verifier) WithCRLs(prefix string, ders [][]byte) (*Verifier, error) {
	i := slices.IndexFunc(v.anchors, func(a *anchor) bool { return a.prefix == prefix })
	if i < 0 {
		return nil, errors.New("replace revocation lists: no anchor has this prefix")
	}
	changed, err := v.anchors[i].withCRLs(ders)
	if err != nil {
		return nil, fmt.Errorf("replace revocation lists: %w", err)
	}
	next := &Verifier{trustDomain: v.trustDomain, anchors: slices.Clone(v.anchors)}
	next.anchors[i] = changed
	return next, nil
}

// Verify judges a chain of DER certificates, leaf first and the rest in any
// order, at the time now. It returns an [UntrustedError] for everything that is
// wrong with the chain. Names that were revoked in the authority log are the
// caller's to refuse.
func (v *Verifier) Verify(chain [][]byte, now time.Time) (*Identity, error) {
	certs, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	leaf := certs[0]
	if err := checkLeaf(leaf); err != nil {
		return nil, err
	}
	name, err := leafName(leaf)
	if err != nil {
		return nil, err
	}
	a := v.anchorFor(name.String())
	if a == nil {
		return nil, untrusted(NoAnchor, name.String())
	}
	if lifetime := leaf.NotAfter.Sub(leaf.NotBefore); a.maxLifetime > 0 && lifetime > a.maxLifetime {
		return nil, untrusted(Lifetime, fmt.Sprintf("%v, at most %v", lifetime, a.maxLifetime))
	}
	until, err := a.verify(certs, now)
	if err != nil {
		return nil, err
	}
	id := &Identity{ID: name.String(), Leaf: leaf, Anchor: a.prefix, NotAfter: until}
	if name.TrustDomain == v.trustDomain {
		id.Path = name.Path
	}
	return id, nil
}

func (v *Verifier) anchorFor(id string) *anchor {
	for _, a := range v.anchors {
		if strings.HasPrefix(id, a.prefix) {
			return a
		}
	}
	return nil
}

// verify builds the paths from the leaf to the anchor's roots and takes the
// first that isn't revoked.
func (a *anchor) verify(certs []*x509.Certificate, now time.Time) (time.Time, error) {
	intermediates := a.intermediates.Clone()
	for _, c := range certs[1:] {
		intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return time.Time{}, pathReason(err, now)
	}
	var refused error
	for _, path := range chains {
		until, err := a.judgePath(path, now)
		if err == nil {
			return until, nil
		}
		if refused == nil {
			refused = err
		}
	}
	return time.Time{}, refused
}

func (a *anchor) judgePath(path []*x509.Certificate, now time.Time) (time.Time, error) {
	until := path[0].NotAfter
	for _, c := range path[1:] {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	if !a.needCRL {
		return until, nil
	}
	listed, err := a.checkRevocation(path, now)
	if err != nil {
		return time.Time{}, err
	}
	if listed.Before(until) {
		until = listed
	}
	return until, nil
}

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, untrusted(Malformed, "empty")
	}
	if len(chain) > MaxChain {
		return nil, untrusted(TooLarge, fmt.Sprintf("%d certificates, at most %d", len(chain), MaxChain))
	}
	total := 0
	for _, der := range chain {
		total += len(der)
	}
	if total > MaxChainBytes {
		return nil, untrusted(TooLarge, fmt.Sprintf("%d bytes, at most %d", total, MaxChainBytes))
	}
	certs := make([]*x509.Certificate, 0, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, untrusted(Malformed, fmt.Sprintf("certificate %d", i+1))
		}
		if slices.ContainsFunc(certs, c.Equal) {
			return nil, untrusted(Malformed, fmt.Sprintf("certificate %d is there twice", i+1))
		}
		if i > 0 && !caKey(c.PublicKey) {
			return nil, untrusted(WrongKey, fmt.Sprintf("certificate %d", i+1))
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// checkLeaf asks of the leaf itself what crypto/x509 doesn't: it takes a CA
// certificate, a missing key usage and a missing extended key usage as a leaf's.
func checkLeaf(leaf *x509.Certificate) error {
	const caUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case leaf.IsCA || leaf.KeyUsage&caUsage != 0:
		return untrusted(LeafIsCA, "")
	case !leafKey(leaf.PublicKey):
		return untrusted(WrongKey, "a workload's key is Ed25519 or ECDSA P-256")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return untrusted(WrongUsage, "")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return untrusted(WrongEKU, "")
	}
	return nil
}

// leafName reads the one URI of the subject alternative name from its bytes.
// The parsed form of crypto/x509 is not enough: url.Parse lowers the scheme and
// drops an empty fragment, so two spellings would become one name.
func leafName(leaf *x509.Certificate) (Name, error) {
	const tagURI = 6 // GeneralName, RFC 5280, section 4.2.1.6
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	var uris []string
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		rest, err := asn1.Unmarshal(e.Value, &names)
		if err != nil || len(rest) != 0 {
			return Name{}, untrusted(Malformed, "subject alternative name")
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == tagURI {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	if len(uris) != 1 {
		return Name{}, untrusted(NoName, fmt.Sprintf("%d URIs", len(uris)))
	}
	name, err := ParseID(uris[0])
	if err != nil {
		return Name{}, untrusted(NoName, err.Error())
	}
	return name, nil
}
