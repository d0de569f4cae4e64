// SPDX-License-Identifier: Apache-2.0

// Package certfile is a server's TLS certificate in two PEM files, which is read
// again when they change: a renewal takes no restart. [Open] fails on files that
// can't be used; later ones that can't leave the certificate before in use.
package certfile

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"claviger/internal/clock"
)

// Files is a certificate that is read again when its files change; they are looked
// at once a second at most. It is safe for concurrent use.
type Files struct {
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

// Open reads a certificate, the leaf first, and its key.
func Open(certificate, key string, clk clock.Clock, logger *slog.Logger) (*Files, error) {
	f := &Files{certificate: certificate, key: key, clock: clk, logger: logger}
	var err error
	if f.stamp, err = f.look(); err != nil {
		return nil, err
	}
	f.current, err = f.load()
	return f, err
}

func (f *Files) look() (out [2]stamp, err error) {
	for i, path := range []string{f.certificate, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return out, fmt.Errorf("read TLS certificate: %w", err)
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

func (f *Files) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate: %s with %s: %w", f.certificate, f.key, err)
	}
	return &cert, nil
}

// Get returns the certificate for a handshake now: a tls.Config's GetCertificate.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
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
	f.logger.Info("TLS certificate read again", "pin", Pin(cert))
	return cert, nil
}

// Pin is the SHA-256 of the certificate's public key, in hexadecimal.
func Pin(cert *tls.Certificate) string {
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
