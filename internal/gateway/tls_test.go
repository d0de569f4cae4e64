// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
)

// authorityOf is a CA of clients.
type authorityOf struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) *authorityOf {
	t.Helper()
	a := &authorityOf{t: t}
	a.cert, a.key = a.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authorityOf) make(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authorityOf) client(name string, usage x509.ExtKeyUsage) *tls.Certificate {
	a.t.Helper()
	cert, key := a.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// TestClientCertificates: an endpoint with roots is reached with a certificate of
// theirs and one of its names, under its host; and in no other way.
func TestClientCertificates(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	const host = "door.example.com"
	e := authority.Endpoint{Name: "door", Host: host, ClientCAs: [][]byte{ca.cert.Raw}, ClientNames: []string{"cks.kms.eu-central-1.amazonaws.com"}}
	r := newToy(t, e)
	set(r, authority.Endpoint{Name: "open", Host: "open.example.com"})
	good := ca.client("CKS.kms.eu-central-1.amazonaws.com", x509.ExtKeyUsageClientAuth)
	if got := ask(r, r.Client(good), host, "/where"); !strings.HasPrefix(got, "200 door ") {
		t.Fatalf("a good certificate: %s", got)
	}
	for name, cert := range map[string]*tls.Certificate{
		"none": nil, "another name": ca.client("cks.kms.us-east-1.amazonaws.com", x509.ExtKeyUsageClientAuth),
		"another CA":   other.client("cks.kms.eu-central-1.amazonaws.com", x509.ExtKeyUsageClientAuth),
		"for a server": ca.client("cks.kms.eu-central-1.amazonaws.com", x509.ExtKeyUsageServerAuth),
	} {
		if got := ask(r, r.Client(cert), host, "/where"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Other ways to the same endpoint lead through handshakes that ask for nothing.
	for _, cert := range []*tls.Certificate{nil, good} {
		c := r.Client(cert)
		for name, got := range map[string]string{
			"another host's handshake": ask(r, c, "open.example.com", "/where", "Host", host),
			"below its name":           ask(r, c, "localhost", "/door/where"),
		} {
			if got != "418 unauthenticated\n" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	if got := ask(r, r.Client(nil), "open.example.com", "/where"); !strings.HasPrefix(got, "200 open ") {
		t.Errorf("an endpoint without roots: %s", got)
	}
	// A connection that an older record let in is asked again.
	c := r.Client(good)
	if got := ask(r, c, host, "/where"); !strings.HasPrefix(got, "200 door ") {
		t.Fatal(got)
	}
	e.ClientCAs = [][]byte{other.cert.Raw}
	set(r, e)
	if got := ask(r, c, host, "/where"); got != "418 unauthenticated\n" {
		t.Errorf("after its roots have changed: %s", got)
	}
	e.ClientCAs, e.ClientNames = [][]byte{ca.cert.Raw}, []string{"somebody else"}
	set(r, e)
	if got := ask(r, c, host, "/where"); got != "418 unauthenticated\n" {
		t.Errorf("after its names have changed: %s", got)
	}
}

// TestTLS: nothing older than 1.2, nothing without forward secrecy and an AEAD.
func TestTLS(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	dial := func(c *tls.Config) (tls.ConnectionState, error) {
		c.RootCAs, c.ServerName = r.Roots, "localhost"
		conn, err := tls.Dial("tcp", r.Doors, c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	if _, err := dial(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256} {
		if _, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}); err == nil {
			t.Errorf("%s is accepted", tls.CipherSuiteName(suite))
		}
	}
	got, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}})
	if err != nil || got.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Errorf("TLS 1.2: %v %v", got.CipherSuite, err)
	}
	if got, err = dial(&tls.Config{NextProtos: []string{"h2", "http/1.1"}}); err != nil || got.Version != tls.VersionTLS13 || got.NegotiatedProtocol != "http/1.1" {
		t.Errorf("TLS 1.3: %x %q %v", got.Version, got.NegotiatedProtocol, err)
	}
}
