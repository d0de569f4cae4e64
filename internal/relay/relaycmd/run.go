// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"claviger/internal/clock"
	"claviger/internal/pki/certfile"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/relay/owncert"
)

// ControlSocket is the name of the socket in the data directory where
// `claviger relay-dump` asks.
const ControlSocket = "control.sock"

func clk() clock.Clock { return clock.System() }

// run serves until ctx ends.
func run(ctx context.Context, c config, s Streams) (err error) {
	logger := s.logger()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	ls, err := listen(c)
	if err != nil {
		return err
	}
	defer ls.close()
	config, pin, err := tlsOf(c, logger)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := natsbus.Open(ctx, natsbus.Options{
		Dir: filepath.Join(c.Dir, "nats"), URL: c.NATS.URL, Credentials: c.NATS.Credentials, CA: c.NATS.CA, Replicas: c.NATS.replicas(),
		Domains: c.domains(), DomainBytes: c.Limits.DomainBytes, Clock: clk(), Logger: logger,
	})
	if err != nil {
		return err
	}
	defer bus.Close()
	front, err := relay.New(ctx, relay.Options{
		Domains: c.domains(), Origins: c.URLs, Limits: c.Limits.limits(), Bus: bus, Table: bus, Parcels: bus, Healthy: bus.Healthy,
		Clock: clk(), Logger: logger,
	})
	if err != nil {
		return err
	}
	if code := s.say(address(c, ls.api, pin)); code != ok {
		return errors.New("nobody reads where the address is told")
	}
	logger.Info("Relay started", "listen", ls.api.Addr().String(), "pin", pin, "domains", len(c.Domains))
	defer logger.Info("Relay stopped")
	return serve(ctx, cancel, front, ls, config)
}

// address says where clients and servers find the relay, as the setting `relay`
// of a server's claviger.toml takes it.
func address(c config, l net.Listener, pin string) string {
	where := c.URLs
	if len(where) == 0 {
		host, port, _ := net.SplitHostPort(l.Addr().String()) // a listener's address has both
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "THIS-HOST"
		}
		where = []string{"https://" + net.JoinHostPort(host, port)}
	}
	var b strings.Builder
	for _, w := range where {
		fmt.Fprintf(&b, "Relay at %s#%s\n", w, pin)
	}
	return b.String()
}

// tlsOf returns the configuration and the pin of the key that is used now.
func tlsOf(c config, logger *slog.Logger) (*tls.Config, string, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	if c.TLS.Certificate == "" {
		cert, err := owncert.Open(c.Dir, clk())
		if err != nil {
			return nil, "", err
		}
		out.Certificates = []tls.Certificate{*cert}
		return out, owncert.Pin(cert).String(), nil
	}
	f, err := certfile.Open(c.TLS.Certificate, c.TLS.Key, clk(), logger)
	if err != nil {
		return nil, "", err
	}
	out.GetCertificate = f.Get
	current, err := f.Get(nil)
	if err != nil {
		return nil, "", err
	}
	return out, owncert.Pin(current).String(), nil
}

// serve runs the three listeners; when one fails, all end.
func serve(ctx context.Context, cancel func(), front *relay.Front, ls *listeners, config *tls.Config) error {
	var all sync.WaitGroup
	failed := make(chan error, 3)
	run := func(f func() error) {
		all.Go(func() {
			defer cancel()
			failed <- f()
		})
	}
	run(func() error { return front.Serve(ctx, ls.api, config) })
	run(func() error { return plain(ctx, ls.control, front.Control()) })
	if ls.metrics != nil {
		run(func() error { return plain(ctx, ls.metrics, front.Metrics()) })
	}
	all.Wait()
	close(failed)
	var err error
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// plain serves HTTP on this machine until ctx ends.
func plain(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// listeners of a relay.
type listeners struct {
	api, control, metrics net.Listener // metrics may be nil
}

func (l *listeners) close() {
	for _, c := range []net.Listener{l.api, l.control, l.metrics} {
		if c != nil {
			c.Close()
		}
	}
}

// listen opens all, or none. The control socket is first: who has it has the
// directory.
func listen(c config) (l *listeners, err error) {
	l = &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.control, err = listenControl(c.Dir); err != nil {
		return l, err
	}
	if l.api, err = listenTCP(c.Listen, "listen"); err != nil {
		return l, err
	}
	if c.Metrics != "" {
		if l.metrics, err = listenTCP(c.Metrics, "metrics"); err != nil {
			return l, err
		}
	}
	return l, nil
}

func listenTCP(address, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another program listens on %s (setting %s)", address, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

// listenControl opens the control socket. A socket that nobody answers on was left
// by a relay that was killed.
func listenControl(dir string) (net.Listener, error) {
	path := filepath.Join(dir, ControlSocket)
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("a relay runs on %s already", dir)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the control socket of a relay that was killed: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return l, nil
}

// clean keeps what an error quotes from writing to a terminal what it likes.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// withoutPassword shows a URL that may hold one.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "its url"
	}
	return u.Redacted()
}
