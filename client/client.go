// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"claviger/client/internal/identity"
	"claviger/client/internal/keep"
	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/client/internal/ways"
	"claviger/internal/clock"
	"claviger/internal/pace"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

const (
	// newsEvery is how old the newest known statement may be before a use of a key
	// asks for the next.
	newsEvery = ways.StatementEvery
	// newsWait bounds how long a use of a key waits for a statement, newsPause how
	// soon it tries again after a failure. While a key's staleness bound lasts, a
	// dead server costs no more than that.
	newsWait  = 2 * time.Second
	newsPause = 5 * time.Second

	// DefaultCacheBytes bounds the keys a Client keeps: about 2,000.
	DefaultCacheBytes = 16 << 20
)

// Options of Dial. The zero value works.
type Options struct {
	// AllowDemo permits a profile of a demo domain, whose keys protect nothing.
	AllowDemo bool
	// Reason goes into each request, for policies and the audit log: at most 256
	// bytes of text.
	Reason string
	// Timeout bounds one exchange with one server; zero means 15 s.
	Timeout time.Duration
	// CacheBytes bounds the memory of released keys; zero means
	// DefaultCacheBytes, and negative that one key at a time is kept.
	CacheBytes int
	// Log hears which server or relay doesn't tell the truth, also when another one
	// helped, so that no call fails; nil: nobody does.
	Log *slog.Logger
	// Clock is nil outside tests.
	Clock clock.Clock
}

// Client encrypts and decrypts with keys that key servers lease to it. It is safe
// for concurrent use; one per process is enough. Close it to forget the keys.
type Client struct {
	profile *Profile
	options Options
	view    *trust.View
	net     *ways.Network
	kept    *keep.Dir
	id      *identity.File
	cache   *leases.Cache
	waiting *leases.Cache // what came ahead of need and may not be used yet
	receipt *keep.Receipts
	mailbox *transport.Mailbox // of this run

	tasks sync.WaitGroup // in the background

	renewing, replacing pace.Turn // of the certificate, of leases; both by the boot clock
	rest                pace.Rest // from asking whether what is at hand is still current

	mu        sync.Mutex // guards what follows
	newsTried time.Duration
	ending    *time.Timer // wipes what has ended; nil if nothing is at hand
	more      bool        // leases came while ending was set
	newsBusy  bool
	running   map[*task]struct{}
	unfollow  context.CancelFunc // ends the follower; nil if there is none
	given     map[*leases.Lease]struct{}
	debts     map[wire.ServerID]trust.Obeyed // to be acknowledged
	paying    bool
	fetching  bool
	fetched   wire.Epoch // that was asked for ahead of need
	fruitless int        // such asks in a row that brought nothing new
	members   wire.Hash  // the membership that the leases at hand come from
	closed    bool
}

// Dial opens a profile for use. It reads files and connects to nobody: the first
// use of a key does that, and fails with what a server says.
func Dial(_ context.Context, p *Profile, o Options) (*Client, error) {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if p.Demo && !o.AllowDemo {
		return nil, fmt.Errorf("open %s: %w: this is a demo profile", p.Dir, ErrDemo)
	}
	if len(o.Reason) > wire.MaxReason {
		return nil, fmt.Errorf("open %s: the reason is longer than %d bytes", p.Dir, wire.MaxReason)
	}
	c := &Client{
		profile: p, options: o, kept: keep.New(p.Dir, p.domain), id: p.identity(),
		cache: leases.NewCache(o.CacheBytes), waiting: leases.NewCache(DefaultCacheBytes), receipt: keep.NewReceipts(p.Dir), mailbox: transport.NewMailbox(),
		running: map[*task]struct{}{}, given: map[*leases.Lease]struct{}{}, debts: map[wire.ServerID]trust.Obeyed{},
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) open() error {
	p := c.profile
	if p.CertFile == "" {
		if err := identity.Finish(p.Dir, p.Client); err != nil {
			return fmt.Errorf("open %s: %w", p.Dir, err)
		}
	}
	if err := c.kept.LoadPins(p.pins()); err != nil {
		return err
	}
	mark, err := c.kept.Mark()
	if err != nil {
		return err
	}
	chain, err := c.kept.Members()
	if err != nil {
		return err
	}
	c.view, err = trust.New(trust.Options{
		Domain: p.domain, Demo: p.Demo, Members: chain, Mark: mark, Keeper: c.kept, Clock: c.options.Clock,
		Padding: wire.Padding(p.Pad),
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", p.Dir, err)
	}
	if _, err := c.id.Get(); err != nil {
		return fmt.Errorf("open %s: %w", p.Dir, err)
	}
	c.members = c.view.Members().Newest
	c.net, err = ways.New(c.view, ways.Options{
		Addresses: p.Addresses, Tokens: c.kept, Log: c.options.Log,
		Transport: transport.Options{Timeout: c.options.Timeout, Identity: c.id.Certificate, Clock: c.options.Clock},
	})
	return err
}

// Close forgets all keys and, for a second at most, tries to tell the servers that
// gave them. Streams that were begun go on; new calls fail with ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	if c.ending != nil {
		c.ending.Stop()
	}
	for t := range c.running {
		t.stop()
	}
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.cache.Close()
	c.waiting.Close()
	c.tasks.Wait()
	c.bye()
	c.net.Close()
	return c.receipt.Prune()
}

// task is something that runs in the background.
type task struct{ stop context.CancelFunc }

// run has f run in the background until it returns; its context ends with stop, or
// with Close, which waits for it. The caller holds c.mu, and c is not closed.
func (c *Client) run(f func(ctx context.Context)) (stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel}
	c.running[t] = struct{}{}
	c.tasks.Go(func() {
		defer func() {
			cancel()
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.running, t)
		}()
		f(ctx)
	})
	return cancel
}

// Epoch is the newest state of the domain that the client has believed, as
// generation.position; "0.0" before the first answer.
func (c *Client) Epoch() string { return c.view.Mark().Epoch.String() }

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// release asks for items and returns what was believed. The caller wipes the
// answer.
func (c *Client) release(ctx context.Context, items []wire.Item) (*trust.Answer, error) {
	out, _, err := c.ask(ctx, items, func(*trust.Question) func(*trust.Asked) { return func(*trust.Asked) {} })
	return out, err
}

// ask is release for who has more to say: amend changes each question before it is
// asked, and what it returns hears of it before it is sent. The second result is the
// one that was answered.
func (c *Client) ask(ctx context.Context, items []wire.Item, amend func(*trust.Question) func(*trust.Asked)) (*trust.Answer, *trust.Asked, error) {
	if c.isClosed() {
		return nil, nil, ErrClosed
	}
	c.renewIfDue(ctx)
	id, err := c.id.Get()
	if err != nil {
		return nil, nil, err
	}
	var out *trust.Answer
	var answered *trust.Asked
	err = c.net.Exchange(ctx, &ways.Talk{
		Ask: func(p *trust.Peer, hint int64) (*trust.Asked, error) {
			q := trust.Question{Items: items, Reason: c.options.Reason, TimeHint: hint, Mailbox: c.mailbox.ID()}
			made := amend(&q)
			asked, err := c.view.Ask(p, id.Trust, q)
			if err == nil {
				made(asked)
			}
			return asked, err
		},
		Hear: func(a *trust.Asked, answer []byte) (err error) {
			out, err = c.view.Answer(a, answer)
			answered = a
			return err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	c.believed(out)
	c.pay()
	return out, answered, nil
}

// believed keeps what an answer brings besides keys, and ends what it ends.
func (c *Client) believed(answer *trust.Answer) {
	c.kept.SaveToken(answer.SendToken)
	c.rest.Worked()
	c.dropFenced()
	c.receipt.Save(answer.Grant)
}

// Refresh gets news of what is revoked, now and not when they are next due. It
// fails if no server gave any; keys at hand then still count until their
// staleness bound.
func (c *Client) Refresh(ctx context.Context) error {
	if c.isClosed() {
		return ErrClosed
	}
	err := c.net.News(ctx)
	if errors.Is(err, ErrStale) && c.cache.Len() == 0 {
		return nil // nothing was asked yet, so nothing can have been revoked under us
	}
	if err != nil {
		return fmt.Errorf("get statement: %w", err)
	}
	c.obey()
	return nil
}

// refreshIfDue calls Refresh when there is a lease for the ask and the newest word
// on it is older than newsEvery.
func (c *Client) refreshIfDue(ctx context.Context, ask leases.Ask) {
	if l := c.cache.Peek(ask); l == nil || c.wordOn(l) < newsEvery {
		return
	}
	now := c.options.Clock.Boot()
	c.mu.Lock()
	if c.newsBusy || c.newsTried != 0 && now-c.newsTried < newsPause {
		c.mu.Unlock()
		return
	}
	c.newsBusy = true
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	err := c.Refresh(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newsBusy, c.newsTried = false, 0
	if l := c.cache.Peek(ask); err != nil || l != nil && c.wordOn(l) >= newsEvery {
		c.newsTried = c.options.Clock.Boot()
	}
}

// dropFenced ends the leases of servers that a change of membership fenced.
func (c *Client) dropFenced() {
	state := c.view.Members()
	c.mu.Lock()
	changed := c.members != state.Newest
	c.members = state.Newest
	c.mu.Unlock()
	if !changed {
		return
	}
	c.dropIf(func(l *leases.Lease) bool {
		_, err := state.ServerKey(l.Server)
		return err != nil
	})
}
