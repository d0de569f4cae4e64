// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"claviger/internal/relay"
	"claviger/internal/relay/membus"
	"claviger/internal/relay/owncert"
	"claviger/internal/settings"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// Where the relay listens: on the usual port, or where there is room.
const (
	usualRelay   = "127.0.0.1:8444"
	anyPort      = "127.0.0.1:0"
	controlName  = "control.sock" // where relay-dump asks
	relaySchema  = 1              // of its configuration
	relayTimeout = 5 * time.Second
)

// relayed is the demo's relay: the front that claviger-relay has, over memory in
// place of NATS, and a hop before it.
type relayed struct {
	dir          string
	cert         *tls.Certificate
	api, control net.Listener
	log          *os.File
	hop          *hop

	front *relay.Front
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// openRelay opens the ports of the relay and of the hop, so that their addresses
// are known before the domain is.
func (d *Demo) openRelay() (r *relayed, err error) {
	r = &relayed{dir: d.path(dirRelay), stop: func() {}}
	defer func() {
		if err != nil {
			r.close()
			r = nil
		}
	}()
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return r, err
	}
	if r.log, err = os.OpenFile(d.path(fileRelayLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return r, err
	}
	if r.cert, err = owncert.Open(r.dir, d.o.Clock); err != nil {
		return r, err
	}
	if r.api, err = net.Listen("tcp", usualRelay); err != nil {
		if r.api, err = net.Listen("tcp", anyPort); err != nil {
			return r, fmt.Errorf("start the relay: %w", err)
		}
	}
	if r.control, err = net.Listen("unix", filepath.Join(r.dir, controlName)); err != nil {
		return r, fmt.Errorf("start the relay: %w", err)
	}
	if err := os.Chmod(r.control.Addr().String(), 0o600); err != nil {
		return r, fmt.Errorf("start the relay: %w", err)
	}
	r.hop, err = openHop(r.api.Addr().String(), owncert.Pin(r.cert), d.o.Clock)
	return r, err
}

// address is the relay's, with its pin.
func (r *relayed) address() string { return relayAddress(r.api, owncert.Pin(r.cert)) }

func relayAddress(l net.Listener, pin wire.Hash) string {
	return transport.Address{Kind: transport.KindRelay, Host: l.Addr().String(), Pin: pin}.String()
}

// serve carries the messages of a domain until close.
func (r *relayed) serve(ctx context.Context, domain wire.DomainID, d *Demo) error {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx)) // close stops it, after its clients
	logger := slog.New(slog.NewJSONHandler(r.log, nil))
	bus := membus.New([]wire.DomainID{domain}, d.o.Clock)
	var err error
	r.front, err = relay.New(ctx, relay.Options{
		Domains: []wire.DomainID{domain}, Bus: bus, Table: bus, Parcels: bus, Clock: d.o.Clock, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	run := func(what string, serve func() error) {
		r.tasks.Go(func() {
			if err := serve(); err != nil {
				logger.Error("The relay ended", "listener", what, "error", err)
			}
		})
	}
	run("api", func() error {
		return r.front.Serve(ctx, r.api, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*r.cert}})
	})
	control := &http.Server{Handler: r.front.Control(), ReadHeaderTimeout: relayTimeout, ReadTimeout: relayTimeout}
	context.AfterFunc(ctx, func() { control.Close() })
	run("control", func() error { return unlessClosed(control.Serve(r.control)) })
	run("hop", func() error { return r.hop.serve(logger) })
	return os.WriteFile(d.path(fileRelayConfig), r.config(domain), 0o600)
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// config is one with which claviger-relay goes on where this relay stops: same
// address, same pin.
func (r *relayed) config(domain wire.DomainID) []byte {
	var b bytes.Buffer
	b.WriteString("# For claviger-relay, once the demo has ended.\n")
	settings.Write(&b, "schema", relaySchema)
	settings.Write(&b, "listen", r.api.Addr().String())
	settings.Write(&b, "dir", r.dir)
	settings.Write(&b, "domains", []string{domain.String()})
	return b.Bytes()
}

// metServer waits until the key server stands at the relay and reads its mailbox.
func (r *relayed) metServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the server did not come to the relay within %v", startWithin))
	defer cancel()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		dump, err := r.front.Dump(ctx, false)
		if err != nil {
			return err
		}
		if s := dump.Domains[0].Servers; len(s) > 0 && s[0].Introduction != nil && s[0].Statement != nil && s[0].Tokens != nil && len(dump.Receivers) > 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close ends all of it, the hop first: the relay waits for who is connected. What
// hasn't been opened is nil.
func (r *relayed) close() {
	if r.hop != nil {
		r.hop.close()
	}
	r.stop()
	for _, l := range []net.Listener{r.api, r.control} {
		if l != nil {
			l.Close()
		}
	}
	r.tasks.Wait()
	if r.log != nil {
		r.log.Close()
	}
}
