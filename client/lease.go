// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
	"claviger/envelope"
	"claviger/internal/pace"
	"claviger/internal/wire"
)

// Operations of a key for data.
const (
	opEncrypt = "encrypt"
	opDecrypt = "decrypt"
)

// counts reports whether a lease may be used now.
func (c *Client) counts(l *leases.Lease) bool { return c.lasts(l) && c.isFresh(l) }

// lasts reports whether a lease has not ended. Revocations drop leases from the
// cache; they are asked for here too, because a lease may get there after the
// news that ends it.
func (c *Client) lasts(l *leases.Lease) bool {
	return l.Age() < time.Duration(l.Item.Lease)*time.Second && l.Epoch.Generation == c.view.Generation() &&
		!c.view.News().Revokes(l.Item.Revocation, l.Epoch)
}

// isFresh reports whether a server's word is recent enough for the lease.
func (c *Client) isFresh(l *leases.Lease) bool {
	return c.wordOn(l) < time.Duration(l.Item.Staleness)*time.Second
}

// wordOn is how long ago, at most, a server vouched for the lease.
//
// Security: what came ahead of need may have been held back by whoever carried it,
// so it doesn't vouch for itself (T-16).
func (c *Client) wordOn(l *leases.Lease) time.Duration {
	age, ok := c.view.Age(l.Epoch, l.Head)
	switch {
	case l.Ahead && !ok:
		return math.MaxInt64
	case l.Ahead:
		return age
	case ok:
		return min(age, l.Age())
	}
	return l.Age()
}

// lease returns the key for an ask that may be used now: the one at hand, or a
// new one.
func (c *Client) lease(ctx context.Context, ask leases.Ask) (*leases.Lease, error) {
	if c.isClosed() {
		return nil, ErrClosed
	}
	c.refreshIfDue(ctx, ask)
	good := c.counts
	if ask.Version == 0 {
		// What is current, and who may seal, may have changed with the epoch.
		newest := c.view.Mark().Epoch
		// To ask again with each use would keep servers busy that have too much to do,
		// and each use waiting.
		rests := !c.rest.Over(c.options.Clock.Boot())
		good = func(l *leases.Lease) bool { return c.counts(l) && (l.Epoch.Compare(newest) >= 0 || rests) }
	}
	l, err := c.cache.Get(ctx, ask, good, func() (*leases.Lease, error) { return c.fetch(ctx, ask) })
	if err == nil {
		c.replaceIfDue(ask, l)
		return l, nil
	}
	if errors.Is(err, leases.ErrGone) {
		return nil, ErrClosed
	}
	return c.makeDo(ask, err)
}

// makeDo falls back on the lease at hand when only the way to the servers is to
// blame, and says why it can't.
func (c *Client) makeDo(ask leases.Ask, err error) (*leases.Lease, error) {
	at := c.cache.Peek(ask)
	if at == nil || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrIntegrity) {
		return nil, err
	}
	if c.counts(at) {
		c.rest.Failed(c.options.Clock.Boot(), pace.Random())
		return at, nil
	}
	if c.lasts(at) {
		return nil, fmt.Errorf("%w: %w", ErrStale, err)
	}
	return nil, err
}

// fetch asks for one key.
func (c *Client) fetch(ctx context.Context, ask leases.Ask) (*leases.Lease, error) {
	answer, err := c.release(ctx, []wire.Item{itemOf(ask)})
	if err != nil {
		return nil, err
	}
	defer answer.Wipe()
	l, err := c.accept(answer, 0, ask)
	if isDenied(err) {
		// What a server takes back is gone, whatever time was left.
		c.cache.Drop(ask)
	}
	return l, err
}

func itemsOf(asks []leases.Ask) []wire.Item {
	out := make([]wire.Item, len(asks))
	for i, ask := range asks {
		out[i] = itemOf(ask)
	}
	return out
}

func itemOf(ask leases.Ask) wire.Item {
	item := wire.Item{
		Name: ask.Name, Version: ask.Version, Purpose: wire.PurposeData,
		Partition: []byte(ask.Partition), Operations: []string{ask.Operations},
	}
	if ask.Name == "" {
		item.ID = ask.ID[:]
	}
	return item
}

// accept makes a lease of one item of a believed answer, or the error that it
// stands for. It takes the item's key.
func (c *Client) accept(answer *trust.Answer, index int, ask leases.Ask) (*leases.Lease, error) {
	item := answer.Items[index]
	if item.Decision != wire.DecisionAllowed {
		return nil, &DeniedError{Client: c.profile.Client, Operation: ask.Operations, Key: c.nameFor(ask), Reason: item.Reason}
	}
	if item.Lease == 0 || item.Staleness == 0 {
		return nil, fmt.Errorf("%w: the key of %s is leased for no time", ErrStale, item.Name)
	}
	// Security: whoever carried the answer may have held it back until it was of no
	// use (T-16). That of one ahead of need hangs on others' word (wordOn).
	good := item.Lease
	if !answer.Ahead {
		good = min(good, item.Staleness)
	}
	if c.view.Elapsed(answer) >= time.Duration(good)*time.Second {
		return nil, fmt.Errorf("%w: the answer came when its lease was over", ErrStale)
	}
	// Security: sealing with a version that is not the active one would undo a
	// rotation, or use a key known to others.
	if ask.Operations == opEncrypt && item.State != wire.StateActive {
		return nil, fmt.Errorf("%w: a %s version was released for sealing", ErrIntegrity, item.State)
	}
	if err := c.kept.Pin(item.Name, item.KeyID); err != nil {
		return nil, err
	}
	key, err := envelope.NewLeafKey(envelope.Ref{
		Domain: c.profile.domain, KeyID: item.KeyID, Version: item.Version,
		Partition: item.Partition, HidePartition: ask.Hidden,
	}, item.Key.Expose())
	runtime.KeepAlive(item.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	c.endLater(time.Duration(item.Lease)*time.Second - c.view.Elapsed(answer))
	l := leases.New(leases.Terms{
		Item: item.GrantItem, Epoch: answer.Epoch, Head: answer.Head, Server: answer.Server, Grant: wire.Sum("receipt", answer.Grant),
		Age: func() time.Duration { return c.view.Elapsed(answer) }, Ahead: answer.Ahead,
	}, key)
	c.remember(l)
	return l, nil
}

// nameFor is what people call the key of an ask: its name, or its id if nobody
// signed a name for that yet.
func (c *Client) nameFor(ask leases.Ask) string {
	if ask.Name != "" {
		return ask.Name
	}
	if name := c.kept.NameOf(ask.ID); name != "" {
		return name
	}
	return ask.ID.String()
}

// use runs f with the key for an ask. A lease that ends between the two steps is
// fetched once more.
func (c *Client) use(ctx context.Context, ask leases.Ask, f func(*leases.Lease, *envelope.LeafKey) error) error {
	for try := 0; ; try++ {
		l, err := c.lease(ctx, ask)
		if err != nil {
			return err
		}
		err = l.Use(func(k *envelope.LeafKey) error { return f(l, k) })
		if !errors.Is(err, leases.ErrGone) || try == maxUses {
			return err
		}
	}
}

// maxUses bounds how often a use is tried when the cache is too small for what
// runs at the same time.
const maxUses = 3

// sweepEvery is how late, at most, a key that nobody uses is wiped after its
// lease.
const sweepEvery = time.Minute

// endLater has keys wiped when their leases end, also if nobody uses the Client
// then.
func (c *Client) endLater(in time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more = c.ending != nil; !c.closed && !c.more {
		c.ending = time.AfterFunc(min(in, sweepEvery), c.dropEnded)
	}
	c.startFollowing()
}

func (c *Client) dropEnded() {
	c.dropIf(func(l *leases.Lease) bool { return !c.lasts(l) })
	c.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	more := c.more // a lease that may be on its way into the cache
	c.ending, c.more = nil, false
	if c.closed {
		return
	}
	if more || c.cache.Len()+c.waiting.Len() > 0 {
		c.ending = time.AfterFunc(sweepEvery, c.dropEnded)
		return
	}
	c.stopFollowing()
}
