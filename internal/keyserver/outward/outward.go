// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"claviger/internal/transport"
	"claviger/internal/wire"
)

// Bounds.
const (
	atOnce   = 256                    // messages of one carrier that are worked on
	answerIn = 15 * time.Second       // after which nobody waits for an answer
	gap      = 100 * time.Millisecond // between two statements, however fast the log moves
	renewAll = 10 * time.Minute       // after which everything is put again: a carrier may have lost it
)

// Server is what a key server says of itself and how it answers. All of it is
// meant for anyone.
type Server interface {
	// Introduction and Statement return the present encoded messages.
	Introduction() ([]byte, error)
	Statement() ([]byte, error)
	// SendTokens are the hashes of the tokens that open the mailbox now.
	SendTokens() []wire.Hash
	// Hear takes a statement that a carrier shows, of whomever.
	Hear(signed []byte)
	// Changed returns a channel that is closed when the log moves.
	Changed() <-chan struct{}
	// Answer answers a sealed message. An error is told to the sender.
	Answer(ctx context.Context, sealed []byte) ([]byte, error)
}

// Carrier is a relay or directory as the holder of the server's mailbox uses it.
type Carrier interface {
	board
	inbox
	parcels
	Address() string
}

type board interface {
	PutIntroduction(ctx context.Context, introduction []byte) error
	PutStatement(ctx context.Context, signed []byte) error
	PutTokens(ctx context.Context, hashes []wire.Hash) error
	// Statements are what it shows of every server, unverified.
	Statements(ctx context.Context) ([][]byte, error)
}

type inbox interface {
	Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error]
	Answer(ctx context.Context, correlation, answer []byte) error
}

// Observer counts. Carriers are named by their place in Options.Carriers.
type Observer interface {
	Connected(carrier int, up bool)        // at each change
	Exchanged(carrier int, status int)     // a message was answered: 200, or the trouble's status
	Reconnected(carrier int, trouble bool) // a stream or a round of putting ended and begins again
}

// Options of Run. All but Pauses are required.
type Options struct {
	Carriers []Carrier
	Every    time.Duration            // between two statements
	Trouble  func(error) wire.Trouble // what a sender is told of an error
	Observer Observer
	Logger   *slog.Logger
	Pauses   transport.Pauses // before a carrier is tried again
}

// Run keeps the server at its carriers until ctx ends and everything that it
// started has returned.
func Run(ctx context.Context, s Server, o Options) {
	var all sync.WaitGroup
	work := &work{running: map[string]bool{}}
	for n, c := range o.Carriers {
		p := &post{server: s, carrier: c, number: n, o: o, anew: make(chan struct{}, 1), work: work}
		all.Go(func() { p.keep(ctx, "publish", p.publish) })
		all.Go(func() { p.keep(ctx, "receive", p.receive) })
	}
	all.Wait()
}

// post is the server at one carrier.
type post struct {
	server  Server
	carrier Carrier
	number  int
	o       Options
	anew    chan struct{} // the carrier may have forgotten everything
	work    *work

	mu sync.Mutex
	up bool
}

// work is what is done for all carriers: several may be one relay's, and bring the
// same message.
type work struct {
	mu      sync.Mutex
	running map[string]bool // correlations that are worked on
}

// keep runs one of the two tasks for ever. A log line tells of the first failure
// after a success, and no other.
func (p *post) keep(ctx context.Context, task string, try func(context.Context, func()) error) {
	well := true
	works := func() { well = true }
	_ = transport.Again(ctx, p.o.Pauses, func(ctx context.Context, again func()) error {
		return try(ctx, func() { works(); again() })
	}, func(err error) {
		level := slog.LevelDebug
		if well {
			level = slog.LevelWarn
		}
		well = false
		p.o.Observer.Reconnected(p.number, err != nil)
		p.o.Logger.Log(ctx, level, "Relay lost, trying again", "relay", p.carrier.Address(), "task", task, "error", err)
	})
}

// said is what the carrier has been told.
type said struct {
	tokens                  []wire.Hash
	introduction, statement []byte
}

// publish puts what is new until something fails.
func (p *post) publish(ctx context.Context, works func()) error {
	defer p.connected(false)
	var last said
	look := true
	all := time.NewTicker(renewAll)
	defer all.Stop()
	for {
		changed := p.server.Changed() // before the statement is made, so that no change is missed
		if look {
			// First what is shown: it may tell this server that its store went back.
			if err := p.hear(ctx); err != nil {
				return err
			}
		}
		if err := p.tell(ctx, &last); err != nil {
			return err
		}
		works()
		p.connected(true)
		next := time.NewTimer(p.o.Every)
		look = false
		select {
		case <-ctx.Done():
		case <-changed:
		case <-next.C:
			look = true
		case <-all.C:
			last = said{}
		case <-p.anew:
			last = said{}
		}
		next.Stop()
		if !wait(ctx, gap) {
			return ctx.Err()
		}
	}
}

// hear takes what the carrier shows of every server.
func (p *post) hear(ctx context.Context) error {
	shown, err := p.carrier.Statements(ctx)
	if err != nil {
		return err
	}
	for _, statement := range shown {
		p.server.Hear(statement)
	}
	return nil
}

// wait reports false if ctx ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// tell puts what differs from what was said last. A server that can't vouch for
// its state has no statement and is therefore not at the carrier.
func (p *post) tell(ctx context.Context, last *said) error {
	if tokens := p.server.SendTokens(); !slices.Equal(tokens, last.tokens) {
		if err := p.carrier.PutTokens(ctx, tokens); err != nil {
			return err
		}
		last.tokens = tokens
	}
	introduction, err := p.server.Introduction()
	if err != nil {
		return err
	}
	if !bytes.Equal(introduction, last.introduction) {
		if err := p.carrier.PutIntroduction(ctx, introduction); err != nil {
			return err
		}
		last.introduction = introduction
	}
	statement, err := p.server.Statement()
	if err != nil {
		return err
	}
	if !bytes.Equal(statement, last.statement) {
		if err := p.carrier.PutStatement(ctx, statement); err != nil {
			return err
		}
		last.statement = statement
	}
	return nil
}

func (p *post) connected(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up == up {
		return
	}
	p.up = up
	p.o.Observer.Connected(p.number, up)
	if up {
		p.o.Logger.Info("At a relay", "relay", p.carrier.Address())
	}
}

// receive works on what comes until the stream ends.
func (p *post) receive(ctx context.Context, works func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	// Where the stream ended, more may have been lost with it.
	defer func() {
		select {
		case p.anew <- struct{}{}:
		default:
		}
	}()
	places := make(chan struct{}, atOnce)
	for d, err := range p.carrier.Receive(ctx) {
		if err != nil {
			return err
		}
		works()
		if len(d.Correlation) == 0 || !p.work.begin(d.Correlation) {
			continue // a parcel, which servers don't expect, or a message told twice
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		workers.Go(func() {
			defer func() { <-places }()
			defer p.work.end(d.Correlation)
			p.answer(ctx, d)
		})
	}
	return nil
}

// begin reports false for a message that is being worked on: the sender waits for
// its answer, and must not get the refusal of a repetition.
func (w *work) begin(correlation []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[string(correlation)] {
		return false
	}
	w.running[string(correlation)] = true
	return true
}

func (w *work) end(correlation []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, string(correlation))
}

func (p *post) answer(ctx context.Context, d *wire.Delivery) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	status := 200
	answer, err := p.server.Answer(ctx, d.Data)
	if err != nil {
		trouble := p.o.Trouble(err)
		status, answer = int(trouble.Status), wire.Marshal(trouble)
	}
	p.o.Observer.Exchanged(p.number, status)
	if err := p.carrier.Answer(ctx, d.Correlation, answer); err != nil {
		// The sender gave up, or the line broke: it asks again.
		p.o.Logger.Debug("Answer not delivered", "relay", p.carrier.Address(), "error", err)
	}
}
