// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Bounds of revocation lists, per list and per anchor. 8 MiB hold about 200,000
// revoked certificates.
const (
	MaxCRLSize = 8 << 20
	maxCRLs    = 16
)

// crl is a parsed revocation list. Its signature is checked when a chain shows
// the issuer's key, and remembered for that key.
type crl struct {
	// list has only what its signature covers and what names its issuer: the
	// parsed entries take ten times the space of the set below.
	list    *x509.RevocationList
	revoked map[string]struct{} // serial numbers, big-endian bytes
	// checked is the hash of the issuer's certificate under which the signature
	// held, so that a list of megabytes isn't hashed for every chain.
	checked atomic.Pointer[[sha256.Size]byte]
}

func parseCRLs(ders [][]byte) ([]*crl, error) {
	if len(ders) > maxCRLs {
		return nil, fmt.Errorf("more than %d revocation lists", maxCRLs)
	}
	crls := make([]*crl, 0, len(ders))
	for i, der := range ders {
		c, err := newCRL(der)
		if err != nil {
			return nil, fmt.Errorf("revocation list %d: %w", i+1, err)
		}
		crls = append(crls, c)
	}
	return crls, nil
}

func newCRL(der []byte) (*crl, error) {
	if len(der) > MaxCRLSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxCRLSize)
	}
	// x509.ParseRevocationList ignores what follows the outer SEQUENCE.
	if err := oneElement(der); err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, errors.New("malformed")
	}
	if err := knownExtensions(list.Extensions); err != nil {
		return nil, err
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("has no next update, so nobody could say when it is stale")
	}
	c := &crl{
		list: &x509.RevocationList{
			RawTBSRevocationList: list.RawTBSRevocationList, SignatureAlgorithm: list.SignatureAlgorithm,
			Signature: list.Signature, RawIssuer: list.RawIssuer, AuthorityKeyId: list.AuthorityKeyId,
			ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
		},
		revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries)),
	}
	for _, e := range list.RevokedCertificateEntries {
		if err := knownExtensions(e.Extensions); err != nil {
			return nil, err
		}
		c.revoked[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	return c, nil
}

func oneElement(der []byte) error {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) != 0 {
		return errors.New("malformed")
	}
	return nil
}

// knownExtensions refuses critical extensions: delta lists, lists for a part of
// the certificates (issuing distribution point) and entries of other issuers are
// all marked so, and crypto/x509 parses past them (RFC 5280, section 5.2: an
// unknown critical extension means that the list must not be used).
func knownExtensions(exts []pkix.Extension) error {
	for _, e := range exts {
		if e.Critical {
			return fmt.Errorf("critical extension %s is not supported", e.Id)
		}
	}
	return nil
}

// signedBy says whether issuer made the list: the same name and a signature
// under its key.
func (c *crl) signedBy(issuer *x509.Certificate) bool {
	if !bytes.Equal(c.list.RawIssuer, issuer.RawSubject) {
		return false
	}
	// CheckSignatureFrom also looks at the issuer's cRLSign, so the memo holds
	// the hash of the whole certificate.
	hash := sha256.Sum256(issuer.Raw)
	if seen := c.checked.Load(); seen != nil && *seen == hash {
		return true
	}
	if c.list.CheckSignatureFrom(issuer) != nil {
		return false
	}
	c.checked.Store(&hash)
	return true
}

// replaces says whether c and old come from the same issuer and key.
func (c *crl) replaces(old *crl) bool {
	return bytes.Equal(c.list.RawIssuer, old.list.RawIssuer) && bytes.Equal(c.list.AuthorityKeyId, old.list.AuthorityKeyId)
}

func (c *crl) fresh(now time.Time) bool {
	return !now.Before(c.list.ThisUpdate) && now.Before(c.list.NextUpdate)
}

// checkRevocation judges every certificate of a verified chain but the root, and
// returns the time of the first next update. A certificate on any list of its
// issuer is revoked, also on a stale one; it is good only on a fresh one.
func (a *anchor) checkRevocation(chain []*x509.Certificate, now time.Time) (time.Time, error) {
	var until time.Time
	for i, cert := range chain[:len(chain)-1] {
		good, err := a.checkOne(cert, chain[i+1], now)
		if err != nil {
			return time.Time{}, err
		}
		if until.IsZero() || good.Before(until) {
			until = good
		}
	}
	return until, nil
}

func (a *anchor) checkOne(cert, issuer *x509.Certificate, now time.Time) (time.Time, error) {
	var found, fresh bool
	var until time.Time
	for _, list := range a.crls {
		if !list.signedBy(issuer) {
			continue
		}
		found = true
		if _, revoked := list.revoked[string(cert.SerialNumber.Bytes())]; revoked {
			return time.Time{}, untrusted(Revoked, fmt.Sprintf("serial %x", cert.SerialNumber))
		}
		if list.fresh(now) {
			fresh = true
			if list.list.NextUpdate.After(until) {
				until = list.list.NextUpdate
			}
		}
	}
	switch {
	case !found:
		return time.Time{}, untrusted(NoCRL, "")
	case !fresh:
		return time.Time{}, untrusted(StaleCRL, "")
	}
	return until, nil
}
