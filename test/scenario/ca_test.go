// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/testkit"
)

// outsidePrefix is what the customer's own CA speaks for.
const outsidePrefix = "spiffe://corp/workload/"

// ca is a certificate authority that issues what a test wants.
type ca struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	now  time.Time
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newCA makes a CA below parent, or a root without one.
func newCA(t *testing.T, now time.Time, parent *ca, change func(*x509.Certificate)) *ca {
	t.Helper()
	c := &ca{t: t, key: newKey(t), now: now}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "CA " + serial(t).String()}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: serial(t).Bytes(),
	}
	if change != nil {
		change(template)
	}
	by := &ca{t: t, key: c.key, cert: template}
	if parent != nil {
		by = parent
	}
	c.cert = by.sign(template, c.key.Public())
	return c
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c *ca) sign(template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, pub, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

// leaf issues a workload's certificate, valid for ten hours unless changed.
func (c *ca) leaf(d *testkit.Domain, id string, change func(*x509.Certificate), above ...*ca) *testkit.Raw {
	c.t.Helper()
	name, err := url.Parse(id)
	if err != nil {
		c.t.Fatal(err)
	}
	key := newKey(c.t)
	template := &x509.Certificate{
		SerialNumber: serial(c.t), URIs: []*url.URL{name}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: c.now.Add(-time.Minute), NotAfter: c.now.Add(10 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	chain := [][]byte{c.sign(template, key.Public()).Raw}
	for _, a := range above {
		chain = append(chain, a.cert.Raw)
	}
	return d.As(&tls.Certificate{Certificate: chain, PrivateKey: key}, id)
}

// crl is the CA's revocation list, good for a day from its time of issue.
func (c *ca) crl(issued time.Time, revoked ...*big.Int) []byte {
	c.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(issued.Unix()), ThisUpdate: issued, NextUpdate: issued.Add(24 * time.Hour)}
	for _, n := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: issued})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, c.cert, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

// anchors is the domain's own CA and an outside root beside it.
func (c *ca) anchors(needCRL bool) members.Anchors {
	return members.Anchors{Anchors: []members.Anchor{
		{Name: "embedded", Prefix: "spiffe://" + testkit.Name + "/workload/", Embedded: true},
		{Name: "corp", Prefix: outsidePrefix, Roots: [][]byte{c.cert.Raw}, NeedCRL: needCRL},
	}}
}

// writeCRL puts a revocation list where the server looks for it.
func (w *world) writeCRL(der []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.Dir, "pki", "corp.crl"), der, 0o600); err != nil {
		w.t.Fatal(err)
	}
}
