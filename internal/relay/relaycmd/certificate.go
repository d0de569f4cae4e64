// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay/owncert"
)

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
	f.logger.Info("TLS certificate read again", "pin", owncert.Pin(cert).String())
	return cert, nil
}
