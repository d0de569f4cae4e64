// SPDX-License-Identifier: Apache-2.0

// Package natsbus is what stands behind a relay's front: NATS, and nothing else
// imports it.
//
//   - Embedded, by default: [Open] without a URL starts a NATS server inside the
//     process that listens nowhere, with JetStream in a directory, every write
//     synced before it is answered.
//   - A cluster, by URL: the process keeps nothing, and any number of them run.
//
// The returned [Bus] is package relay's Bus, Table and Parcels. What that means
// in NATS:
//
//   - A bus address is a subject without a stream: core NATS, in memory, at most
//     once. That nobody listens is known at once, by NATS's own answer.
//   - The table is one stream, one message a subject. A write names the sequence
//     it replaces, so of two processes one wins.
//   - Parcels of a domain are a stream of their own with a bound of its own: a
//     domain that fills its share leaves the others theirs. Numbers are stream
//     sequences, and each domain's begin at a place of its own, so that a number
//     of one domain is never mistaken for one of another.
//
// It deliberately knows nothing of what the bytes mean, and checks nobody.
//
// Threats: whoever can write to the cluster is as good as the relay, which is
// trusted with nothing (T-61). The credentials keep strangers out.
package natsbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/wire"
)

// Options of Open.
type Options struct {
	// Dir is where the embedded server keeps boards, token hashes and parcels. It
	// is not used with a URL.
	Dir string
	// URL of a NATS cluster with JetStream; empty: embedded.
	URL string
	// Credentials is a NATS credentials file for the cluster; empty for none.
	Credentials string
	// CA is a PEM file with the roots of the cluster's certificates; empty: the
	// system's.
	CA string
	// Replicas of each stream in a cluster; 0 means 1.
	Replicas int
	// Domains that the relay serves, at least one.
	Domains []wire.DomainID
	// DomainBytes bounds the parcels of each domain; 0 means DefaultDomainBytes.
	DomainBytes int64
	// Clock says how long a parcel has to live; nil: the system's.
	Clock clock.Clock
	// Logger is told of what goes wrong; nil: nobody is.
	Logger *slog.Logger
}

// DefaultDomainBytes is 256 MiB.
const DefaultDomainBytes = 256 << 20

// Limits.
const (
	// maxPayload of a bus message: a sealed message and what processes say of it.
	maxPayload = 1 << 20
	// boardBytes is what one domain's board can take, twice, since a record is
	// written before the one that it replaces goes.
	boardBytes = 2 * wire.MaxBoardServers * (wire.MaxIntroduction + wire.MaxStatement + 4<<10)
	// pendingBytes and pendingMessages bound what waits for one listener.
	pendingBytes    = 32 << 20
	pendingMessages = 4096
)

// starting bounds how long NATS may take to start or to be reached.
const starting = 20 * time.Second

// Subjects and streams.
const (
	busSubject    = "claviger.relay.bus."
	boardSubject  = "claviger.relay.board."
	parcelSubject = "claviger.relay.parcel."
	boardStream   = "CLAVIGER_BOARD"
	parcelStream  = "CLAVIGER_PARCELS_"
)

// Bus is the relay's Bus, Table and Parcels over one NATS connection. It is safe
// for concurrent use.
type Bus struct {
	server  *server.Server // embedded; nil with a cluster
	conn    *nats.Conn
	stream  jetstream.JetStream
	board   jetstream.Stream
	parcels map[wire.DomainID]jetstream.Stream
	clock   clock.Clock
	locks   [64]chan struct{} // of mailboxes; see Add
}

// Open connects, starting the embedded server first if no URL is given, and makes
// the streams that are not there yet.
func Open(ctx context.Context, o Options) (bus *Bus, err error) {
	if o.DomainBytes <= 0 {
		o.DomainBytes = DefaultDomainBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	o.Replicas = max(o.Replicas, 1)
	if err := apart(o.Domains); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	b := &Bus{clock: o.Clock, parcels: map[wire.DomainID]jetstream.Stream{}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	for i := range b.locks {
		b.locks[i] = make(chan struct{}, 1)
	}
	if o.URL == "" {
		if b.server, err = start(o); err != nil {
			return nil, err
		}
	}
	if b.conn, err = connect(o, b.server); err != nil {
		return nil, err
	}
	if err := b.makeStreams(ctx, o); err != nil {
		return nil, err
	}
	return b, nil
}

// Healthy returns nil while NATS can be reached.
func (b *Bus) Healthy() error {
	if !b.conn.IsConnected() {
		return fmt.Errorf("NATS: %s", b.conn.Status())
	}
	return nil
}

// Close ends the connection and, if it is embedded, the server.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// start runs a server that only this process can reach.
func start(o Options) (*server.Server, error) {
	streams := int64(len(o.Domains)) * (o.DomainBytes + boardBytes)
	s, err := server.NewServer(&server.Options{
		ServerName: "claviger-relay", DontListen: true, NoSigs: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: o.Dir, SyncAlways: true, JetStreamMaxStore: streams + 16<<20, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: %w", err)
	}
	s.SetLoggerV2(&natsLogger{o.Logger}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(starting) {
		s.Shutdown()
		return nil, errors.New("start embedded NATS: it isn't ready; is its directory writable?")
	}
	return s, nil
}

func connect(o Options, embedded *server.Server) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("claviger-relay"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.ReconnectBufSize(-1), // what can't go now is refused now: who asked repeats it
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { o.Logger.Warn("NATS reports", "error", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Logger.Warn("The connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { o.Logger.Info("The connection to NATS is back") }),
	}
	if embedded != nil {
		options = append(options, nats.InProcessServer(embedded))
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	conn, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return conn, nil
}

func (b *Bus) makeStreams(ctx context.Context, o Options) (err error) {
	if b.stream, err = jetstream.New(b.conn); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	b.board, err = b.makeStream(ctx, jetstream.StreamConfig{
		Name: boardStream, Subjects: []string{boardSubject + ">"}, Storage: jetstream.FileStorage, Replicas: o.Replicas,
		MaxMsgsPerSubject: 1, MaxBytes: int64(len(o.Domains)) * boardBytes, Discard: jetstream.DiscardNew, AllowMsgTTL: true,
		Duplicates: time.Second,
	})
	if err != nil {
		return fmt.Errorf("open the boards in NATS: %w", err)
	}
	for _, domain := range o.Domains {
		b.parcels[domain], err = b.makeStream(ctx, jetstream.StreamConfig{
			Name: parcelStream + domain.String(), Subjects: []string{parcelSubject + domain.String() + ".>"},
			Storage: jetstream.FileStorage, Replicas: o.Replicas, FirstSeq: firstNumber(domain),
			MaxBytes: o.DomainBytes, Discard: jetstream.DiscardNew, AllowMsgTTL: true, Duplicates: 2 * time.Minute,
		})
		if err != nil {
			return fmt.Errorf("open the parcels of domain %s in NATS: %w", domain, err)
		}
	}
	return nil
}

// codeNoPeers is what a cluster says that hasn't found enough of its servers yet.
const codeNoPeers = 10005

// makeStream makes or updates a stream. A cluster that is just starting is waited
// for until ctx ends.
func (b *Bus) makeStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		s, err := b.stream.CreateOrUpdateStream(ctx, c)
		if !isAPI(err, codeNoPeers) {
			return s, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// numberBits is how many parcels a domain can number before it runs into
// another's numbers: a trillion.
const numberBits = 40

// firstNumber is where a domain's parcel numbers begin.
func firstNumber(domain wire.DomainID) uint64 {
	h := wire.Sum("parcel-numbers", domain[:])
	return uint64(binary.BigEndian.Uint32(h[:])>>10)<<numberBits | 1
}

// apart refuses two domains whose parcel numbers would run into each other: each
// is one of four million places, so this needs bad luck or malice.
func apart(domains []wire.DomainID) error {
	if len(domains) == 0 {
		return errors.New("no domain is named")
	}
	seen := map[uint64]wire.DomainID{}
	for _, d := range domains {
		if other, ok := seen[firstNumber(d)]; ok {
			return fmt.Errorf("domains %s and %s can't be served by one relay", other, d)
		}
		seen[firstNumber(d)] = d
	}
	return nil
}

// natsLogger hands on what an embedded server complains of.
type natsLogger struct{ to *slog.Logger }

func (l *natsLogger) Noticef(string, ...any) {}
func (l *natsLogger) Debugf(string, ...any)  {}
func (l *natsLogger) Tracef(string, ...any)  {}
func (l *natsLogger) Warnf(format string, v ...any) {
	l.to.Warn("Embedded NATS warns", "what", fmt.Sprintf(format, v...))
}
func (l *natsLogger) Errorf(format string, v ...any) {
	l.to.Error("Embedded NATS fails", "what", fmt.Sprintf(format, v...))
}
func (l *natsLogger) Fatalf(format string, v ...any) {
	l.to.Error("Embedded NATS fails", "what", fmt.Sprintf(format, v...))
}

var (
	_ relay.Bus     = (*Bus)(nil)
	_ relay.Table   = (*Bus)(nil)
	_ relay.Parcels = (*Bus)(nil)
)
