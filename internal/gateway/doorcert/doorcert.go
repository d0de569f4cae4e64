// SPDX-License-Identifier: Apache-2.0

// Package doorcert finds the certificates of the doors' port.
//
//   - [Files]: a certificate that the operator got from a public CA, in two PEM
//     files that are read again when they change. Foreign clouds accept no other.
//   - [Open]: none is configured. The server makes a small CA of its own, whose
//     certificate lies in the data directory for clients that can be told to trust
//     it, and issues itself a certificate for the hosts of its endpoints.
//
// # Threats
//
// The CA's key lies in a file of mode 0600, is no part of the root of trust, and
// speaks for this port alone, as the name of its certificate says. Whoever steals it
// can play a door to clients that trust it. It names servers only: no door takes a
// certificate of this CA for a client.
package doorcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/certfile"
)

// Names of the CA's files in the data directory's part for certificates.
const (
	CAFile  = "doors-ca.pem"
	KeyFile = "doors-ca.key"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 30 * 24 * time.Hour
)

// FromFiles is the certificate of two files; the names of endpoints are whoever
// got it to see to.
type FromFiles struct{ *certfile.Files }

// Files opens a certificate, the leaf first, and its key.
func Files(certificate, key string, clk clock.Clock, logger *slog.Logger) (FromFiles, error) {
	f, err := certfile.Open(certificate, key, clk, logger)
	return FromFiles{f}, err
}

// Get returns the certificate for a handshake.
func (f FromFiles) Get(h *tls.ClientHelloInfo, _ []string) (*tls.Certificate, error) {
	return f.Files.Get(h)
}

// Own issues certificates for the server itself. It is safe for concurrent use.
type Own struct {
	clock clock.Clock
	ca    *x509.Certificate
	key   crypto.Signer
	usual []string // names and addresses beside the endpoints'

	mu      sync.Mutex
	current *tls.Certificate
	names   []string // that current is for
	renew   time.Time
}

// Open reads the CA in dir, or makes it there. The certificate is for localhost and
// the loopback addresses, and for address, host:port, if that is more than a port.
func Open(dir, address string, clk clock.Clock) (*Own, error) {
	o := &Own{clock: clk, usual: []string{"localhost", "127.0.0.1", "::1"}}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" && !slices.Contains(o.usual, host) {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			o.usual = append(o.usual, host)
		}
	}
	err := o.read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = o.make(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the doors' own CA in %s: %w", dir, err)
	}
	return o, nil
}

// PEM is the CA's certificate, for clients that are to trust it.
func (o *Own) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.ca.Raw})
}

func (o *Own) read(dir string) error {
	key, err := readPEM(filepath.Join(dir, KeyFile), "PRIVATE KEY")
	if err != nil {
		return err
	}
	der, err := readPEM(filepath.Join(dir, CAFile), "CERTIFICATE")
	if err != nil {
		return err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return fmt.Errorf("%s holds no ECDSA key", KeyFile)
	}
	if o.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if o.key = private; !private.PublicKey.Equal(o.ca.PublicKey) {
		return fmt.Errorf("%s and %s don't belong together", CAFile, KeyFile)
	}
	if !o.clock.Now().Before(o.ca.NotAfter) {
		return fmt.Errorf("it ended at %s: remove %s and %s, and give clients the new one", o.ca.NotAfter, CAFile, KeyFile)
	}
	return nil
}

func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(rest) > 0 {
		return nil, fmt.Errorf("%s is no PEM file with one %s", path, kind)
	}
	return block.Bytes, nil
}

// make writes the certificate first and the key last: what has a key is whole.
func (o *Own) make(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := o.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Claviger doors"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if o.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	o.key = key
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, CAFile), 0o644, o.PEM()); err != nil {
		return err
	}
	return replace(filepath.Join(dir, KeyFile), 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// replace writes a file so that after a crash there is a whole one or none.
func replace(path string, mode fs.FileMode, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".doors-*.part") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func serial() *big.Int {
	raw := make([]byte, 16)
	rand.Read(raw)
	raw[0] &= 0x7f
	return new(big.Int).SetBytes(raw)
}

// Get returns a certificate for the usual names and those of endpoints: another
// one when these have changed, or when the last has lived half its life.
func (o *Own) Get(_ *tls.ClientHelloInfo, hosts []string) (*tls.Certificate, error) {
	names := slices.Concat(o.usual, hosts)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current != nil && slices.Equal(names, o.names) && o.clock.Now().Before(o.renew) {
		return o.current, nil
	}
	cert, err := o.issue(names)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for the doors: %w", err)
	}
	o.current, o.names, o.renew = cert, names, o.clock.Now().Add(leafLife/2)
	return cert, nil
}

func (o *Own) issue(names []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := o.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Claviger doors of this server"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, o.ca, key.Public(), o.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, o.ca.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
