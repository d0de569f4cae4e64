// SPDX-License-Identifier: Apache-2.0

package fakeserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"claviger/internal/clock"
)

// authority issues workload certificates for ten hours.
type authority struct {
	tb    testing.TB
	clock clock.Clock
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
}

func newAuthority(tb testing.TB, clk clock.Clock) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: clk.Now().Add(-time.Hour), NotAfter: clk.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &authority{tb: tb, clock: clk, key: key, cert: cert}
}

// issue returns a chain for a client's name and key.
func (a *authority) issue(client string, pub crypto.PublicKey) [][]byte {
	name, err := url.Parse(client)
	if err != nil {
		a.tb.Error(err)
		return nil
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.tb.Error(err)
		return nil
	}
	now := a.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{name}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(10 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		a.tb.Error(err)
		return nil
	}
	return [][]byte{der}
}

// Issue returns a certificate chain for any name and key, as a CA that was
// deceived would.
func (d *Domain) Issue(client string, pub crypto.PublicKey) [][]byte { return d.ca.issue(client, pub) }
