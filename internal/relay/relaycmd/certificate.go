// SPDX-License-Identifier: Apache-2.0

package relaycmd

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
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// keyFile holds the relay's own TLS key in its data directory.
const keyFile = "tls.key"

// ownLife is how long the certificate around the relay's own key says that it is
// good. Clients look at the key alone.
const ownLife = 10 * 365 * 24 * time.Hour

// pinOf is what stands behind # in the relay's address.
func pinOf(cert *tls.Certificate) wire.Hash { return sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo) }

// ownCertificate reads the relay's own key, or makes it, and puts a certificate
// around it.
func ownCertificate(dir string, clk clock.Clock) (*tls.Certificate, error) {
	path := filepath.Join(dir, keyFile)
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

// files is a certificate that is read again when its files change, at most once a
// second. One that can't be read leaves the one before in use.
type files struct {
	certificate, key string
	clock            clock.Clock
	logger           *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]stamp
	looked  time.Duration
}

// stamp tells one state of a file from another.
type stamp struct {
	at   time.Time
	size int64
}

func openFiles(c tlsConfig, clk clock.Clock, logger *slog.Logger) (*files, error) {
	f := &files{certificate: c.Certificate, key: c.Key, clock: clk, logger: logger}
	var err error
	if f.stamp, err = f.look(); err != nil {
		return nil, err
	}
	f.current, err = f.load()
	return f, err
}

func (f *files) look() (out [2]stamp, err error) {
	for i, path := range []string{f.certificate, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return out, fmt.Errorf("read TLS certificate: %w", err)
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

func (f *files) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate: %w", err)
	}
	return &cert, nil
}

// get returns the certificate for one handshake.
func (f *files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Boot()
	if now-f.looked < time.Second && f.looked != 0 {
		return f.current, nil
	}
	f.looked = now
	stamp, err := f.look()
	if err == nil && stamp == f.stamp {
		return f.current, nil
	}
	var cert *tls.Certificate
	if err == nil {
		cert, err = f.load()
	}
	if err != nil {
		f.logger.Warn("The TLS certificate can't be read again; the one before stays in use", "error", err)
		return f.current, nil
	}
	f.current, f.stamp = cert, stamp
	f.logger.Info("TLS certificate read again", "pin", pinOf(cert).String())
	return cert, nil
}
