// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/clock"
	"claviger/internal/newcomers"
	"claviger/internal/relay/bounds"
	"claviger/internal/relay/ring"
	"claviger/internal/wire"
)

// Options of New. Domains, Bus, Table and Parcels are required.
type Options struct {
	Domains []wire.DomainID
	// Origins are what callers may have asked: https://host:port. None: the Host
	// header is believed, which suits a relay that is reached under one name.
	Origins []string
	Limits  Limits
	Bus     Bus
	Table   Table
	Parcels Parcels
	Healthy func() error // nil: always
	Clock   clock.Clock  // of signatures and lives; nil: the system's
	Logger  *slog.Logger // nil: nobody is told
}

// Front is the HTTPS front of a relay.
type Front struct {
	o       Options
	routes  []route
	boards  *boards
	early   early
	waiters *waiters
	ring    *ring.Ring
	metrics *metrics

	rates       *bounds.Rates[netip.Prefix]
	writes      *bounds.Rates[wire.Hash]
	bodies      *bounds.Gate[netip.Prefix]
	underWay    *bounds.Gate[wire.Hash]
	connections *bounds.Gate[netip.Prefix]

	// Periods; tests shorten them.
	silence, answerIn, alive time.Duration
	real                     clock.Clock // of deadlines on connections

	followers atomic.Int64
	mu        sync.Mutex
	receivers map[*call]Receiver

	stopping chan struct{}
	stop     func()
}

// New makes a front that knows what the table has and hears the bus until ctx
// ends.
func New(ctx context.Context, o Options) (*Front, error) {
	o.Limits = o.Limits.filled()
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Front{
		o: o, routes: routes(), boards: newBoards(o.Domains), early: early{held: map[wire.Hash]earlyTokens{}}, waiters: newWaiters(),
		ring: ring.New(o.Limits.Ring), rates: bounds.NewRates[netip.Prefix](o.Limits.Rate, o.Limits.Burst), writes: bounds.NewRates[wire.Hash](boardRate, boardBurst),
		bodies:      bounds.NewGate[netip.Prefix](o.Limits.Bodies, o.Limits.BodiesPerAddress),
		underWay:    bounds.NewGate[wire.Hash](0, o.Limits.UnderWay),
		connections: bounds.NewGate[netip.Prefix](0, o.Limits.ConnectionsPerAddress),
		silence:     silence, answerIn: answerIn, alive: keepAlive, real: clock.System(),
		receivers: map[*call]Receiver{}, stopping: make(chan struct{}),
	}
	f.stop = sync.OnceFunc(func() { close(f.stopping) })
	f.metrics = newMetrics(f)
	if err := f.o.Table.Watch(ctx, f.learn); err != nil {
		return nil, err
	}
	for address, hear := range map[string]func(Message){answerAddress(f.waiters.process[:]): f.hearAnswer, addressAll: f.hearAll} {
		stop, err := f.o.Bus.Listen(address, hear)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, stop)
	}
	return f, nil
}

// keepAlive is the time between two signs of life on a stream.
const keepAlive = 15 * time.Second

func (f *Front) learn(r Record) {
	if err := f.boards.apply(r, f.now()); err != nil {
		f.o.Logger.Warn("A record of the board is none of ours", "key", r.Key, "error", err)
	}
}

// Serve serves TLS on l until ctx ends; then streams end at once, and what waits
// for an answer has a few seconds. It closes l.
func (f *Front) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	server := f.server()
	var fresh newcomers.Set
	server.ConnState = fresh.State
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(bounds.Listen(l, f.o.Limits.Connections, f.connections), config))
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	f.stop()
	fresh.Cut()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopIn)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// stopIn bounds a graceful stop.
const stopIn = 5 * time.Second

func (f *Front) server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler: f, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		// What callers do wrong on a connection is no news, and may quote them.
		ErrorLog: log.New(discard{}, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			// What is received before anybody has looked at it is small.
			MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
			SendPingTimeout: f.silence, PingTimeout: f.silence, WriteByteTimeout: f.silence,
		},
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// count counts one of something that goes on; the returned func ends it.
func (f *Front) count(n *atomic.Int64) func() {
	n.Add(1)
	return func() { n.Add(-1) }
}

// Receiver is a stream that a mailbox is read from.
type Receiver struct {
	Mailbox string    `json:"mailbox"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
}

// present notes a receiver; the returned func strikes it off.
func (f *Front) present(c *call) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.receivers[c] = Receiver{c.mailbox.String(), c.from, f.o.Clock.Now().UTC()}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.receivers, c)
	}
}

func (f *Front) reading() []Receiver {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Receiver, 0, len(f.receivers))
	for _, r := range f.receivers {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Receiver) int { return a.Since.Compare(b.Since) })
	return out
}
