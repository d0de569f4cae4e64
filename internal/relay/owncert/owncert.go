// SPDX-License-Identifier: Apache-2.0

// Package owncert is the TLS key that a relay makes for itself where no files are
// named: [Open] reads it from the relay's directory or makes it there, so that the
// pin in the relay's address stays, and puts a certificate around it, new at each
// start, that means nothing. [Pin] is what stands in the address.
//
// Threats: the key protects who talks to whom, never a key of a client (T-61). It
// lies in a file of mode 0600.
package owncert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// KeyFile is the name of the key, PEM, in the relay's data directory.
const KeyFile = "tls.key"

// ownLife is how long the certificate around the relay's own key says that it is
// good. Clients look at the key alone.
const ownLife = 10 * 365 * 24 * time.Hour

// Pin is what stands behind # in the relay's address.
func Pin(cert *tls.Certificate) wire.Hash { return sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo) }

// Open reads the relay's own key, or makes it, and puts a certificate
// around it.
func Open(dir string, clk clock.Clock) (*tls.Certificate, error) {
	path := filepath.Join(dir, KeyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(clk.Now().UnixMilli()), Subject: pkix.Name{CommonName: "claviger-relay"},
		NotBefore: clk.Now().Add(-time.Hour), NotAfter: clk.Now().Add(ownLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make TLS certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make TLS certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read TLS key: %w", err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, fmt.Errorf("read TLS key: %s is no PEM file with one private key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("read TLS key: %s holds no ECDSA key", path)
	}
	return key, nil
}

// makeKey writes a new key so that after a crash there is a whole one or none.
func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tls-*.part") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("write TLS key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write TLS key: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, fmt.Errorf("write TLS key: %w", err)
	}
	return key, syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write TLS key: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write TLS key: %w", err)
	}
	return nil
}
