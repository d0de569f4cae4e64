// SPDX-License-Identifier: Apache-2.0

// Package doors sets the port of the doors up for a server: the [Config] of its
// part of claviger.toml, the list of [Kinds] that the program knows, and [Open],
// which makes the port from both.
package doors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"claviger/internal/gateway"
	"claviger/internal/gateway/doorcert"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/pki/certfile"
	"claviger/internal/settings"
)

// DefaultListen is where the port usually is.
const DefaultListen = "127.0.0.1:8445"

// Config is the part [doors] of claviger.toml.
type Config struct {
	Listen      string `toml:"listen"`      // host:port; "" for none
	Public      string `toml:"public"`      // origin under which others reach it, https://host[:port]; "": https:// and listen
	Certificate string `toml:"certificate"` // PEM, the leaf first; relative to the data directory; "": of the server's own CA
	Key         string `toml:"key"`         // PEM
}

// Write renders the part as init writes it.
func (c Config) Write(b *bytes.Buffer) {
	b.WriteString("\n# The port for foreign services, such as " + DefaultListen + " (docs/endpoints): \"\" for\n" +
		"# none. Its certificate is in PEM files, which are read again when they change, or\n" +
		"# of a CA of the server's own, pki/" + doorcert.CAFile + ". Others reach it under public.\n[doors]\n")
	settings.Write(b, "listen", c.Listen)
	settings.Write(b, "public", c.Public)
	settings.Write(b, "certificate", c.Certificate)
	settings.Write(b, "key", c.Key)
}

// Check says what is wrong about it, without looking at files.
func (c Config) Check() error {
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	if (c.Certificate == "") != (c.Key == "") {
		return errors.New("certificate and key go together")
	}
	if c.Public == "" {
		return nil
	}
	u, err := url.Parse(c.Public)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || c.Public != strings.ToLower("https://"+u.Host) {
		return fmt.Errorf("public: %q is not https://host or https://host:port, in lower case", c.Public)
	}
	return nil
}

// Try reads the certificate's files, as a start would.
func (c Config) Try(dir string) error {
	if c.Certificate == "" {
		return nil
	}
	_, err := certfile.Open(at(dir, c.Certificate), at(dir, c.Key), nil, nil)
	return err
}

// at is a path relative to the data directory.
func at(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Port is the port of the doors, open; a nil one is none.
type Port struct {
	listener net.Listener
	server   *gateway.Server
}

// Open makes the port that a configuration asks for, nil if it asks for none, in
// front of the key server that has these options.
func Open(c Config, keys gateway.Keys, metrics prometheus.Registerer, o keyserver.Options) (*Port, error) {
	if c.Listen == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	var certificate gateway.Certificate
	if c.Certificate != "" {
		certificate, err = doorcert.Files(at(o.Dir, c.Certificate), at(o.Dir, c.Key), o.Clock, o.Logger)
	} else {
		certificate, err = doorcert.Open(datadir.Dir(o.Dir).PKI(), l.Addr().String(), o.Clock)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("certificate of the doors: %w", err)
	}
	return &Port{l, gateway.New(gateway.Options{
		Keys: keys, Kinds: Kinds(), Certificate: certificate, Public: c.Public, Clock: o.Clock, Logger: o.Logger, Metrics: metrics,
	})}, nil
}

// Address is where it listens, "" if it is none.
func (p *Port) Address() string {
	if p == nil {
		return ""
	}
	return p.listener.Addr().String()
}

// Close closes a port that has not been served.
func (p *Port) Close() {
	if p != nil {
		p.listener.Close()
	}
}

// Beside serves the port while serve runs, and ends serve when the port fails.
func (p *Port) Beside(ctx context.Context, serve func(context.Context) error) error {
	if p == nil {
		return serve(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- p.server.Serve(ctx, p.listener)
	}()
	err := serve(ctx)
	cancel()
	return errors.Join(err, <-ended)
}
