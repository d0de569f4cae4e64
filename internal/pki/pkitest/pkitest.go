// SPDX-License-Identifier: Apache-2.0

// Package pkitest makes certificate authorities, certificates and revocation
// lists for tests with the openssl program, so that what package pki accepts was
// never encoded by the code under test. OpenSSL 3.0 or newer must be installed.
//
// A scenario is a root, perhaps an intermediate, and a leaf:
//
//	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
//	inter := root.CA(pkitest.Spec{Name: "inter"})
//	leaf := inter.Leaf(pkitest.Spec{ID: "spiffe://acme.example/workload/app"})
//
// All dates lie around [Now]: tests pass Now to the code under test and never
// read a clock.
package pkitest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Now is the middle of every default validity.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// Spec says what a certificate is to be. The zero value of each field gives
// what a well-kept CA would do.
type Spec struct {
	Name      string    // common name; for CAs it must differ between CAs
	ID        string    // SPIFFE id of a leaf
	Key       string    // "P-256" (default), "P-384", "P-521", "ED25519" or "RSA:2048"
	NotBefore time.Time // default Now − 1 hour
	NotAfter  time.Time // default Now + 10 hours for leaves, + 1 year for CAs
	// Extensions replaces all extensions: lines of an openssl x509v3_config
	// section.
	Extensions []string
	// Reuse is a key file of another certificate, for cross-signing.
	Reuse string
}

// CA is a certificate authority of the openssl program.
type CA struct {
	Cert    *x509.Certificate
	KeyFile string

	t   testing.TB
	dir string
}

// Leaf is an end certificate with its key.
type Leaf struct {
	DER  []byte
	Cert *x509.Certificate
	Key  crypto.Signer
	// Chain is leaf, then the issuing CAs without the root.
	Chain [][]byte

	file string
}

// caExtensions are those of a CA, in the syntax of x509v3_config(5).
func caExtensions() []string {
	return []string{
		"basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign",
		"subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid",
	}
}

// LeafExtensions are the default extensions of a leaf named id.
func LeafExtensions(id string) []string {
	return []string{
		"basicConstraints=critical,CA:false", "keyUsage=critical,digitalSignature",
		"extendedKeyUsage=clientAuth", "subjectAltName=URI:" + id,
	}
}

// NewRoot makes a self-signed CA.
func NewRoot(t testing.TB, s Spec) *CA {
	t.Helper()
	c := &CA{t: t, dir: t.TempDir()}
	c.setup()
	c.KeyFile = c.key(s, c.dir)
	c.openssl("req", "-new", "-key", c.KeyFile, "-subj", "/CN="+s.Name, "-out", c.path("ca.csr"))
	cert := c.sign(signing{spec: s, csr: c.path("ca.csr"), out: c.path("ca.pem"), ca: true, self: true})
	c.Cert = cert
	return c
}

// CA makes a CA below c.
func (c *CA) CA(s Spec) *CA {
	c.t.Helper()
	sub := &CA{t: c.t, dir: c.t.TempDir()}
	sub.setup()
	sub.KeyFile = sub.key(s, sub.dir)
	csr := sub.path("ca.csr")
	c.openssl("req", "-new", "-key", sub.KeyFile, "-subj", "/CN="+s.Name, "-out", csr)
	sub.Cert = c.sign(signing{spec: s, csr: csr, out: sub.path("ca.pem"), ca: true})
	return sub
}

// Leaf makes an end certificate. Its Chain lists the given CAs after the leaf.
func (c *CA) Leaf(s Spec, chain ...*CA) *Leaf {
	c.t.Helper()
	dir := c.t.TempDir()
	keyFile := c.key(s, dir)
	csr, out := filepath.Join(dir, "leaf.csr"), filepath.Join(dir, "leaf.pem")
	c.openssl("req", "-new", "-key", keyFile, "-subj", "/CN=leaf", "-out", csr)
	cert := c.sign(signing{spec: s, csr: csr, out: out})
	leaf := &Leaf{DER: cert.Raw, Cert: cert, Key: readKey(c.t, keyFile), Chain: [][]byte{cert.Raw}, file: out}
	for _, above := range chain {
		leaf.Chain = append(leaf.Chain, above.Cert.Raw)
	}
	return leaf
}

// Revoke enters a leaf in c's list of revoked certificates.
func (c *CA) Revoke(l *Leaf) {
	c.t.Helper()
	c.openssl("ca", "-config", c.path("ca.cnf"), "-keyfile", c.KeyFile, "-cert", c.path("ca.pem"), "-revoke", l.file)
}

// RevokeCA enters a CA in c's list of revoked certificates.
func (c *CA) RevokeCA(sub *CA) {
	c.t.Helper()
	c.openssl("ca", "-config", c.path("ca.cnf"), "-keyfile", c.KeyFile, "-cert", c.path("ca.pem"), "-revoke", sub.path("ca.pem"))
}

// CRL returns c's revocation list in DER, good from Now − 1 hour until the given
// time. Further lines are CRL extensions.
func (c *CA) CRL(until time.Time, extensions ...string) []byte {
	c.t.Helper()
	return c.CRLFrom(Now.Add(-time.Hour), until, extensions...)
}

// CRLFrom is CRL with the time of issue chosen.
func (c *CA) CRLFrom(from, until time.Time, extensions ...string) []byte {
	c.t.Helper()
	c.write("crl.cnf", append([]string{"[crl]", "authorityKeyIdentifier=keyid"}, extensions...))
	out := c.path("crl.pem")
	conf := c.path("both.cnf")
	c.join(conf, "ca.cnf", "crl.cnf")
	c.openssl("ca", "-config", conf, "-keyfile", c.KeyFile, "-cert", c.path("ca.pem"), "-gencrl", "-crlexts", "crl",
		"-crl_lastupdate", stamp(from), "-crl_nextupdate", stamp(until), "-out", out)
	return readPEM(c.t, out)
}

// OpenSSL runs the program in a fresh directory and fails the test if it fails.
func OpenSSL(t testing.TB, args ...string) []byte {
	t.Helper()
	return run(t, t.TempDir(), args...)
}

type signing struct {
	spec     Spec
	csr, out string
	ca, self bool
}

func (c *CA) sign(s signing) *x509.Certificate {
	c.t.Helper()
	from, to, exts := s.spec.NotBefore, s.spec.NotAfter, s.spec.Extensions
	if from.IsZero() {
		from = Now.Add(-time.Hour)
	}
	if to.IsZero() && s.ca {
		to = Now.AddDate(1, 0, 0)
	} else if to.IsZero() {
		to = Now.Add(10 * time.Hour)
	}
	if exts == nil && s.ca {
		exts = caExtensions()
	} else if exts == nil {
		exts = LeafExtensions(s.spec.ID)
	}
	c.write("exts.cnf", append([]string{"[exts]"}, exts...))
	args := []string{"ca", "-config", c.path("ca.cnf"), "-batch", "-notext", "-keyfile", c.KeyFile,
		"-in", s.csr, "-out", s.out, "-extfile", c.path("exts.cnf"), "-extensions", "exts",
		"-startdate", stamp(from), "-enddate", stamp(to)}
	if s.self {
		args = append(args, "-selfsign")
	} else {
		args = append(args, "-cert", c.path("ca.pem"))
	}
	c.openssl(args...)
	cert, err := x509.ParseCertificate(readPEM(c.t, s.out))
	if err != nil {
		c.t.Fatalf("parse what openssl made: %v", err)
	}
	return cert
}

func (c *CA) setup() {
	c.write("index.txt", nil)
	c.write("ca.cnf", []string{
		"[ca]", "default_ca=own", "[own]", "new_certs_dir=" + c.dir, "database=" + c.path("index.txt"),
		"default_md=sha256", "rand_serial=yes", "policy=any", "unique_subject=no", "[any]", "commonName=optional",
	})
}

func (c *CA) key(s Spec, dir string) string {
	c.t.Helper()
	if s.Reuse != "" {
		return s.Reuse
	}
	out := filepath.Join(dir, "key.pem")
	args := []string{"genpkey", "-out", out}
	switch kind, bits, _ := strings.Cut(s.Key, ":"); kind {
	case "ED25519":
		args = append(args, "-algorithm", "ED25519")
	case "RSA":
		args = append(args, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:"+bits)
	case "":
		args = append(args, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	default:
		args = append(args, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+kind)
	}
	c.openssl(args...)
	return out
}

func (c *CA) path(name string) string { return filepath.Join(c.dir, name) }

func (c *CA) write(name string, lines []string) {
	c.t.Helper()
	text := strings.Join(append(lines, ""), "\n")
	if len(lines) == 0 {
		text = ""
	}
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *CA) join(out string, names ...string) {
	c.t.Helper()
	var all bytes.Buffer
	for _, n := range names {
		data, err := os.ReadFile(c.path(n))
		if err != nil {
			c.t.Fatal(err)
		}
		all.Write(data)
	}
	if err := os.WriteFile(out, all.Bytes(), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *CA) openssl(args ...string) { c.t.Helper(); run(c.t, c.dir, args...) }

func run(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), "openssl", args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes()
}

func readPEM(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("%s: no PEM block", filepath.Base(file))
	}
	return block.Bytes
}

func readKey(t testing.TB, file string) crypto.Signer {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(readPEM(t, file))
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatal(fmt.Errorf("key of type %T can't sign", key))
	}
	return signer
}

// stamp gives a time as openssl ca wants it (GeneralizedTime).
func stamp(t time.Time) string { return t.UTC().Format("20060102150405Z") }
