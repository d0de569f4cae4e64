// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"claviger/internal/audit"
	"claviger/internal/clock"
	"claviger/internal/keyserver/limits"
	"claviger/internal/keyserver/standing"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

const (
	// DefaultStatementEvery is how often a server signs a new statement.
	DefaultStatementEvery = 30 * time.Second
	sealGrace             = 3 * time.Second // for requests that are running when a seal comes
)

// Options of a Server.
type Options struct {
	Dir            string // data directory made by datadir.Init
	Domain         wire.DomainID
	Demo           bool // serve a demo domain, and nothing else
	Clock          clock.Clock
	Logger         *slog.Logger  // nil: no log
	Accept         []byte        // a quorum-signed head to start on (authority.AcceptRollback)
	StatementEvery time.Duration // 0: DefaultStatementEvery
	AuditFS        audit.FS      // where the audit log lies; nil: the operating system's
	TLSKey         wire.Hash     // of the door that clients dial; descriptors name it
	Mailbox        wire.Hash     // where the server is at relays and directories; zero: at none
	Reach          []string      // addresses of those
	Padding        wire.Padding  // of answers
	// Deliver puts a release made ahead of need where clients look for it: nil when
	// one relay or directory has it. Without it no standing request is kept.
	Deliver func(context.Context, standing.Parcel) error
	// Beside runs beside the server from each Unseal on; it returns soon after its
	// context ends. nil: nothing does.
	Beside func(context.Context, *Core)
	Meter  Meter // nil: nobody counts
}

// Meter counts what the server decides and what troubles it. It is called from
// many goroutines, and holds nobody up.
type Meter interface {
	Decision(action, decision string) // of a leaf: an action as audit.Leaf names it, wire.DecisionAllowed or Denied
	Dark(after time.Duration)         // of a holder of what was revoked
	Ack(outcome string)               // holding.AckTaken, …
	Alarm(kind string)                // duty, policy, audit, crl, recovery, behind or fork
}

type noMeter struct{}

func (noMeter) Decision(string, string) {}
func (noMeter) Alarm(string)            {}
func (noMeter) Dark(time.Duration)      {}
func (noMeter) Ack(string)              {}

// Server is a key server without doors, sealed or not. It is safe for concurrent
// use.
type Server struct {
	o    Options
	gate *limits.Gate

	life sync.Mutex // one Unseal or Seal at a time

	mu   sync.Mutex
	open *opened // nil while sealed
}

// opened is an unsealed core and what runs on it.
type opened struct {
	core     *Core
	duties   sync.WaitGroup
	stop     context.CancelFunc       // of the duties
	requests sync.WaitGroup           // grows only while the server's open points here
	onCut    func(func()) func() bool // context.AfterFunc of what ends requests that outlast a seal's grace
	end      context.CancelFunc
}

// New returns a sealed server.
func New(o Options) *Server {
	if o.StatementEvery == 0 {
		o.StatementEvery = DefaultStatementEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
	return &Server{o: o, gate: limits.NewGate()}
}

// ErrUnsealed means that the server is open already.
var ErrUnsealed = errors.New("the server is unsealed already")

// Unseal opens the server with the root secret, which the server owns from then
// on, also if this fails. Requests get ErrSealed until it is done.
func (s *Server) Unseal(ctx context.Context, r *root.Secret) error {
	s.life.Lock()
	defer s.life.Unlock()
	if !s.Sealed() {
		r.Wipe()
		return ErrUnsealed
	}
	core, err := openCore(ctx, s.o, r, s.gate)
	if err != nil {
		return err
	}
	if err := core.execute(ctx); err != nil {
		core.dutyFailed(ctx, err)
	}
	o := &opened{core: core}
	run, stop := context.WithCancel(context.Background())
	o.stop, core.ending = stop, run.Done()
	cut, end := context.WithCancel(context.Background())
	o.onCut, o.end = func(f func()) func() bool { return context.AfterFunc(cut, f) }, end
	o.duties.Go(func() { core.run(run) })
	o.duties.Go(func() { core.ahead.Run(run) })
	if s.o.Beside != nil {
		o.duties.Go(func() { s.o.Beside(run, core) })
	}
	s.mu.Lock()
	s.open = o
	s.mu.Unlock()
	s.o.Logger.Info("Unsealed", "server", core.id.String(), "protection", secret.Protection())
	return nil
}

// Seal forgets the root and everything derived from it. New requests are refused
// at once; those that are running get a few seconds, then they are cut.
func (s *Server) Seal(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	o := s.open
	s.open = nil
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	o.stop()
	o.duties.Wait()
	cut := time.AfterFunc(sealGrace, o.end)
	o.requests.Wait()
	cut.Stop()
	o.end()
	err := o.core.close(ctx)
	s.o.Logger.Info("Sealed")
	return err
}

// Sealed reports whether the server is sealed.
func (s *Server) Sealed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == nil
}

// With runs f on the open core, and keeps it open meanwhile. The context that f
// gets ends when a seal can wait no longer.
func (s *Server) With(ctx context.Context, f func(context.Context, *Core) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.WithEnd(cancel, func(c *Core) error { return f(ctx, c) })
}

// WithEnd is With for who can end f's work itself: end is called, if f still runs,
// when a seal can wait no longer.
func (s *Server) WithEnd(end func(), f func(*Core) error) error {
	s.mu.Lock()
	o := s.open
	if o == nil {
		s.mu.Unlock()
		return ErrSealed
	}
	o.requests.Add(1)
	s.mu.Unlock()
	defer o.requests.Done()
	defer o.onCut(end)()
	return f(o.core)
}

// Epoch of the server's state; ErrSealed while it is sealed.
func (s *Server) Epoch() (e wire.Epoch, err error) {
	err = s.With(context.Background(), func(_ context.Context, c *Core) error { e = c.epoch(); return nil })
	return e, err
}
