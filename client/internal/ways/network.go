// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/pace"
	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// Tokens keeps the send tokens that open servers' mailboxes at relays and
// directories, in the order in which they are to be shown.
type Tokens interface {
	Tokens() [][]byte
	Opened(token []byte)
}

// Network talks to whichever server of one domain answers, by whichever way.
type Network struct {
	view   *trust.View
	tokens Tokens
	doubts *doubts

	mu        sync.Mutex
	ways      []*Way
	preferred *Way // by which the last answer came; nil before
}

// Options of a Network.
type Options struct {
	Addresses []string // of the kinds that NewWay reads; at least one
	Tokens    Tokens
	Transport transport.Options
	// Log hears which way doesn't tell the truth, once a minute each; nil: nobody does.
	Log *slog.Logger
}

// New makes a Network. It connects to nobody.
func New(view *trust.View, o Options) (*Network, error) {
	n := &Network{view: view, tokens: o.Tokens, doubts: newDoubts(o)}
	return n, n.open(view.Members().Domain, o)
}

func (n *Network) open(domain wire.DomainID, o Options) error {
	var all []*Way
	for _, address := range o.Addresses {
		w, err := NewWay(address, domain, o.Transport)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return errors.New("no server address is known")
	}
	n.Use(all...)
	return nil
}

// Use has the Network go other ways from now on. Those that it went before are not
// closed.
func (n *Network) Use(all ...*Way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ways, n.preferred = all, nil
}

// Order lists the ways, the one by which the last answer came first: what a dead
// one costs is paid once.
func (n *Network) Order() []*Way {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := max(slices.Index(n.ways, n.preferred), 0)
	return slices.Concat(n.ways[at:], n.ways[:at])
}

func (n *Network) prefer(w *Way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.preferred = w
}

// Last is the way by which the last answer came and the server that gave it; ok is
// false before the first.
func (n *Network) Last() (way string, server wire.ServerID, ok bool) {
	n.mu.Lock()
	w := n.preferred
	n.mu.Unlock()
	if w == nil {
		return "", wire.ServerID{}, false
	}
	peers := w.Peers()
	if len(peers) == 0 {
		return "", wire.ServerID{}, false
	}
	return w.Address, peers[0].Server, true
}

// Refresh makes the next connections show the certificate of that moment.
func (n *Network) Refresh() {
	for _, w := range n.Order() {
		if l, ok := w.Carrier.(line); ok {
			l.Refresh()
		}
	}
}

// Close closes the connections of all ways.
func (n *Network) Close() {
	for _, w := range n.Order() {
		if c, ok := w.Carrier.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// Talk is one exchange: how to ask a given peer, and how to judge the answer.
// Both may be called more than once.
type Talk struct {
	// Ask makes the message; hint is a time to address it with, zero for none.
	Ask func(p *trust.Peer, hint int64) (*trust.Asked, error)
	// Hear judges the answer.
	Hear func(a *trust.Asked, answer []byte) error

	// asked are messages whose answer did not come, by the hash of the descriptor
	// that they are sealed to. The server may have answered: the same bytes get the
	// same answer, by whichever way, and a new message would be a second question.
	asked map[wire.Hash]*trust.Asked
}

// Lost reports whether a server may have answered, and the answer did not come.
func (t *Talk) Lost() bool { return len(t.asked) > 0 }

// Exchange asks one server after the other, by one way after the other, until one
// answers what counts. A denial counts. Of several failures the gravest is
// returned.
func (n *Network) Exchange(ctx context.Context, t *Talk) error {
	return n.each(ctx, func(w *Way) error {
		return n.eachPeer(ctx, w, func(p *trust.Peer) error { return n.attempt(ctx, w, p, t) })
	})
}

// each calls f for one way after the other until it succeeds.
func (n *Network) each(ctx context.Context, f func(*Way) error) error {
	var failed error
	for _, w := range n.Order() {
		err := f(w)
		if err == nil {
			n.prefer(w)
			return nil
		}
		failed = Worse(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// eachPeer calls f for one server after the other that a way leads to, until it
// succeeds.
func (n *Network) eachPeer(ctx context.Context, w *Way, f func(*trust.Peer) error) error {
	peers, failed := n.introduced(ctx, w, false)
	for _, p := range peers {
		err := f(p)
		if err == nil {
			w.prefer(p.Server)
			return nil
		}
		n.doubts.hear(w, p.Server, err)
		failed = Worse(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// attempt is one exchange with one server: once, and a second time where a new
// introduction, another time or a newer epoch may help.
func (n *Network) attempt(ctx context.Context, w *Way, peer *trust.Peer, t *Talk) error {
	hint := int64(0)
	for again := false; ; again = true {
		if again {
			var err error
			if peer, err = n.anew(ctx, w, peer); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return Unavailable(err) // a message takes a thousand times as long to make as this
		}
		asked, err := n.question(peer, t, hint)
		if err != nil {
			return err
		}
		answer, err := n.send(ctx, w, peer, asked.Sealed)
		if err != nil {
			if lost(err) {
				t.lose(peer, asked)
			}
			if !again && (pause(ctx, err) || curable(w, err)) && ctx.Err() == nil {
				hint = w.hint(ctx, peer.Server)
				continue
			}
			return Unavailable(err)
		}
		err = n.hear(ctx, w, peer, t, asked, answer)
		// Another goroutine may have learned of another membership while this answer
		// was on its way: that is no rollback, but the answer is out of date.
		if errors.Is(err, trust.ErrRollback) && !again && n.view.Mark().Epoch.Compare(asked.Since) > 0 {
			continue
		}
		if errors.Is(err, trust.ErrIntegrity) {
			// Whoever carried the answer may have spoilt it. By another way the same bytes get
			// it once more, also where a second question would be refused.
			t.lose(peer, asked)
		}
		return err
	}
}

func (t *Talk) lose(p *trust.Peer, asked *trust.Asked) {
	if t.asked == nil {
		t.asked = map[wire.Hash]*trust.Asked{}
	}
	t.asked[p.Hash] = asked
}

// question is the message for a server: the one whose answer did not come, while
// it lasts, or a new one.
func (n *Network) question(p *trust.Peer, t *Talk, hint int64) (*trust.Asked, error) {
	last, ok := t.asked[p.Hash]
	delete(t.asked, p.Hash)
	if ok && hint == 0 && n.view.Lasts(last) {
		return last, nil
	}
	return t.Ask(p, hint)
}

// lost reports whether the server may have answered although no answer came.
func lost(err error) bool {
	status, refused := refusedStatus(err)
	return !refused && !errors.Is(err, ErrSendToken) || status == http.StatusGatewayTimeout
}

// send carries a sealed message, with one send token after the other where one is
// asked for: a server that gives out a bad one must not lock the others away.
func (n *Network) send(ctx context.Context, w *Way, p *trust.Peer, sealed []byte) ([]byte, error) {
	to := transport.Peer{TLS: p.Descriptor.TLS, Mailbox: p.Descriptor.Mailbox}
	if w.Direct() {
		return w.Carrier.Exchange(ctx, to, sealed)
	}
	tokens := n.tokens.Tokens()
	if len(tokens) == 0 {
		return nil, ErrSendToken
	}
	var failed error
	for _, token := range tokens {
		to.Token = token
		answer, err := w.Carrier.Exchange(ctx, to, sealed)
		if err == nil {
			n.tokens.Opened(token)
			return answer, nil
		}
		failed = err
		if status, _ := refusedStatus(err); status != http.StatusForbidden {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrSendToken, failed)
}

// hear judges an answer, after a new introduction if it is of another membership.
func (n *Network) hear(ctx context.Context, w *Way, p *trust.Peer, t *Talk, asked *trust.Asked, answer []byte) error {
	err := t.Hear(asked, answer)
	if !errors.Is(err, trust.ErrMembers) {
		return err
	}
	if _, err := n.anew(ctx, w, p); err != nil {
		return err
	}
	if err = t.Hear(asked, answer); errors.Is(err, trust.ErrMembers) {
		return fmt.Errorf("%w: it answers for a membership that it does not show", trust.ErrIntegrity)
	}
	return err
}

// curable reports whether a failed exchange may succeed with a new introduction:
// the server was started again and has other keys, another mailbox at its relay,
// or found the request's time wrong.
func curable(w *Way, err error) bool {
	switch status, _ := refusedStatus(err); status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusConflict:
		return true
	case http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable:
		return !w.Direct()
	}
	return errors.Is(err, tlscert.ErrPin)
}

// pause waits as long as a busy server asks for or a little longer, and reports whether that was the
// trouble.
func pause(ctx context.Context, err error) bool {
	refusal, ok := errors.AsType[*transport.Error](err)
	if !ok || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter > maxPause {
		return false
	}
	timer := time.NewTimer(pace.Busy(refusal.RetryAfter, pace.Random()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return true
}

// maxPause is the longest that a busy server is waited for; beyond it the next
// server is asked.
const maxPause = 5 * time.Second

// Call sends a JSON call to one server after the other. Only direct ways carry
// such.
func (n *Network) Call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error) {
	if !slices.ContainsFunc(n.Order(), (*Way).Direct) {
		return nil, ErrNeedsDirect
	}
	var out []byte
	err := n.each(ctx, func(w *Way) error {
		l, ok := w.Carrier.(line)
		if !ok {
			return Unavailable(ErrNeedsDirect)
		}
		if _, err := n.introducedOne(ctx, w); err != nil {
			return err
		}
		answer, err := l.Call(ctx, method, path, body, limit)
		if errors.Is(err, tlscert.ErrPin) {
			if err := n.introducedAgain(ctx, w); err != nil {
				return err
			}
			answer, err = l.Call(ctx, method, path, body, limit)
		}
		if err != nil {
			return Unavailable(err)
		}
		out = answer
		return nil
	})
	return out, err
}

// wireTime is a statement's claim of its time, which nobody has verified.
func wireTime(statement []byte, server wire.ServerID) (int64, bool) {
	claim, err := wire.PeekStatement(statement)
	if err != nil || claim.Server != server {
		return 0, false
	}
	return claim.Issued, true
}
