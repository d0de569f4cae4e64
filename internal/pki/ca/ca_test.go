// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki"
	"claviger/internal/pki/ca"
	"claviger/internal/pki/pkitest"
	"claviger/internal/secret"
)

const (
	domain = "acme.example"
	app    = "spiffe://acme.example/workload/app"
)

func seed(fill byte) *secret.Bytes { return secret.Take(bytes.Repeat([]byte{fill}, ca.SeedSize)) }

func newCA(t testing.TB, fill byte) (*ca.CA, *clock.Manual) {
	t.Helper()
	clk := clock.NewManual(pkitest.Now)
	c, err := ca.New(domain, seed(fill), clk)
	if err != nil {
		t.Fatal(err)
	}
	return c, clk
}

// request makes a certificate request with the openssl program that asks for
// everything it must not get.
func request(t testing.TB, keyArgs ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	key, out := filepath.Join(dir, "key.pem"), filepath.Join(dir, "csr.der")
	pkitest.OpenSSL(t, append([]string{"genpkey", "-out", key}, keyArgs...)...)
	pkitest.OpenSSL(t, "req", "-new", "-key", key, "-subj", "/CN=admin/O=evil", "-outform", "DER", "-out", out,
		"-addext", "subjectAltName=URI:spiffe://acme.example/workload/admin,DNS:evil.example",
		"-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=keyCertSign", "-addext", "extendedKeyUsage=serverAuth")
	der, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// largeRequest is in order but for its size.
func largeRequest(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	key, out := filepath.Join(dir, "key.pem"), filepath.Join(dir, "csr.der")
	pkitest.OpenSSL(t, append([]string{"genpkey", "-out", key}, p256()...)...)
	names := strings.Repeat("DNS:"+strings.Repeat("a", 60)+".example,", 64) + "DNS:b.example"
	pkitest.OpenSSL(t, "req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "DER", "-out", out, "-addext", "subjectAltName="+names)
	der, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256() []string {
	return []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
}

func verifier(t testing.TB, c *ca.CA, earlier ...*ca.CA) *pki.Verifier {
	t.Helper()
	a, err := c.Anchor(earlier...)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pki.NewVerifier(domain, []pki.Anchor{a})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestIssue(t *testing.T) {
	c, clk := newCA(t, 1)
	for _, args := range [][]string{p256(), {"-algorithm", "ED25519"}} {
		csr := request(t, args...)
		chain, err := c.Issue(csr, app, 0)
		if err != nil {
			t.Fatal(err)
		}
		id, err := verifier(t, c).Verify(chain, clk.Now())
		if err != nil {
			t.Fatal(err)
		}
		if id.ID != app || id.Path != "app" {
			t.Errorf("issued for %s", id.ID)
		}
		leaf := id.Leaf
		if leaf.IsCA || leaf.Subject.String() != "" || len(leaf.DNSNames) != 0 || len(leaf.URIs) != 1 ||
			leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 {
			t.Errorf("the request had its way: %+v", leaf)
		}
		if got := leaf.NotAfter.Sub(clk.Now()); got != ca.DefaultTTL {
			t.Errorf("lives %v", got)
		}
		if leaf.SerialNumber.Sign() <= 0 || leaf.SerialNumber.BitLen() > 159 || leaf.SerialNumber.BitLen() < 64 {
			t.Errorf("serial %v", leaf.SerialNumber)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	c, _ := newCA(t, 1)
	good := request(t, p256()...)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	otherKey := request(t, p256()...)
	long := largeRequest(t)
	// Another key in the place of the requester's, by a relay in the middle: the
	// signature no longer fits.
	parsed, err := x509.ParseCertificateRequest(good)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.ParseCertificateRequest(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	swapped := bytes.Replace(good, parsed.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo, 1)

	for _, tc := range []struct {
		name string
		csr  []byte
		id   string
		ttl  time.Duration
	}{
		{"forged signature", forged, app, 0},
		{"key swapped", swapped, app, 0},
		{"trailing byte", append(bytes.Clone(good), 0), app, 0},
		{"empty", nil, app, 0},
		{"too large", long, app, 0},
		{"RSA key", request(t, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), app, 0},
		{"P-384 key", request(t, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"), app, 0},
		{"foreign domain", good, "spiffe://other.example/workload/app", 0},
		{"no workload", good, "spiffe://acme.example/server/app", 0},
		{"dots", good, "spiffe://acme.example/workload/../app", 0},
		{"too short", good, app, ca.MinTTL - 1},
		{"negative", good, app, -time.Hour},
		{"too long", good, app, ca.MaxTTL + 1},
	} {
		if chain, err := c.Issue(tc.csr, tc.id, tc.ttl); err == nil || chain != nil {
			t.Errorf("%s: accepted", tc.name)
		}
	}
	for _, ttl := range []time.Duration{ca.MinTTL, ca.MaxTTL} {
		if _, err := c.Issue(good, app, ttl); err != nil {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}

// TestStable holds that instances of a domain need to share nothing but the
// seed, and that another seed is another CA.
func TestStable(t *testing.T) {
	a, clk := newCA(t, 1)
	b, late := newCA(t, 1)
	late.Advance(30 * 24 * time.Hour)
	if !bytes.Equal(a.Root().Raw, b.Root().Raw) {
		t.Error("two instances have two root certificates")
	}
	// The key derivation is for ever: this certificate must never change.
	const want = "445c89a3f7e0b6286775aa00fcd052d40f57c9978689cf6b0884d5de6fec74f9"
	if sum := sha256.Sum256(a.Root().Raw); hex.EncodeToString(sum[:]) != want {
		t.Errorf("root certificate hashes to %x", sum)
	}
	chain, err := a.Issue(request(t, p256()...), app, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier(t, b).Verify(chain, clk.Now()); err != nil {
		t.Errorf("another instance: %v", err)
	}
	next, _ := newCA(t, 2)
	if next.Root().Subject.String() == a.Root().Subject.String() {
		t.Error("two generations share a name")
	}
	if _, err := verifier(t, next).Verify(chain, clk.Now()); err == nil {
		t.Error("another seed's CA vouches")
	}
	if _, err := verifier(t, next, a).Verify(chain, clk.Now()); err != nil {
		t.Errorf("after a root change: %v", err)
	}
}

// TestRootIsConstrained: whatever this CA could be made to sign, it can't reach
// beyond end certificates of its domain's names.
func TestRootIsConstrained(t *testing.T) {
	c, _ := newCA(t, 1)
	root := c.Root()
	if !root.IsCA || !root.MaxPathLenZero || root.MaxPathLen != 0 || !root.PermittedDNSDomainsCritical {
		t.Errorf("root %+v", root)
	}
	if len(root.PermittedURIDomains) != 1 || root.PermittedURIDomains[0] != domain {
		t.Errorf("names permitted: %v", root.PermittedURIDomains)
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
}

// TestOpenSSLVerifies has the other side judge a chain of ours.
func TestOpenSSLVerifies(t *testing.T) {
	c, _ := newCA(t, 3)
	chain, err := c.Issue(request(t, p256()...), app, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	out := pkitest.OpenSSL(t, "verify", "-x509_strict", "-purpose", "sslclient", "-attime", "1780315200",
		"-CAfile", write("root.pem", c.Root().Raw), write("leaf.pem", chain[0]))
	if !strings.Contains(string(out), "OK") {
		t.Errorf("openssl says %s", out)
	}
}

func TestNewRefuses(t *testing.T) {
	clk := clock.NewManual(pkitest.Now)
	for _, tc := range []struct {
		domain string
		seed   *secret.Bytes
	}{{"Acme", seed(1)}, {"", seed(1)}, {domain, secret.New(63)}, {domain, secret.New(65)}} {
		if _, err := ca.New(tc.domain, tc.seed, clk); err == nil {
			t.Errorf("accepted %q with %d bytes", tc.domain, tc.seed.Len())
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	c, _ := newCA(b, 1)
	csr := request(b, p256()...)
	for b.Loop() {
		if _, err := c.Issue(csr, app, 0); err != nil {
			b.Fatal(err)
		}
	}
}
