// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// purse keeps the send tokens that open servers' mailboxes at relays and
// directories, in the order in which they are to be shown.
type purse interface {
	Tokens() [][]byte
	Opened(token []byte)
}

// network talks to whichever server of one domain answers, by whichever way.
type network struct {
	view   *trust.View
	tokens purse

	mu        sync.Mutex
	ways      []*way
	preferred *way // by which the last answer came; nil before
}

// newNetwork makes a way for each address. It connects to nobody.
func newNetwork(view *trust.View, addresses []string, tokens purse, o transport.Options) (*network, error) {
	n := &network{view: view, tokens: tokens}
	for _, address := range addresses {
		w, err := newWay(address, view.Members().Domain, o)
		if err != nil {
			return nil, err
		}
		n.ways = append(n.ways, w)
	}
	if len(n.ways) == 0 {
		return nil, errors.New("no server address is known")
	}
	return n, nil
}

// order lists the ways, the one by which the last answer came first: what a dead
// one costs is paid once.
func (n *network) order() []*way {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := max(slices.Index(n.ways, n.preferred), 0)
	return slices.Concat(n.ways[at:], n.ways[:at])
}

func (n *network) prefer(w *way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.preferred = w
}

// refresh makes the next connections show the certificate of that moment.
func (n *network) refresh() {
	for _, w := range n.order() {
		if l, ok := w.carrier.(line); ok {
			l.Refresh()
		}
	}
}

func (n *network) close() {
	for _, w := range n.order() {
		if c, ok := w.carrier.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// talk is one exchange: how to ask a given peer, and how to judge the answer.
// Both may be called more than once; hint is a time to address the request with,
// zero for none.
type talk struct {
	ask  func(p *trust.Peer, hint int64) (*trust.Asked, error)
	hear func(a *trust.Asked, answer []byte) error

	// asked are messages whose answer did not come, by the hash of the descriptor
	// that they are sealed to. The server may have answered: the same bytes get the
	// same answer, by whichever way, and a new message would be a second question.
	asked map[wire.Hash]*trust.Asked
}

func newTalk(ask func(*trust.Peer, int64) (*trust.Asked, error), hear func(*trust.Asked, []byte) error) talk {
	return talk{ask, hear, map[wire.Hash]*trust.Asked{}}
}

// exchange asks one server after the other, by one way after the other, until one
// answers what counts. A denial counts. Of several failures the gravest is
// returned.
func (n *network) exchange(ctx context.Context, t talk) error {
	return n.each(ctx, func(w *way) error {
		return n.eachPeer(ctx, w, func(p *trust.Peer) error { return n.attempt(ctx, w, p, t) })
	})
}

// each calls f for one way after the other until it succeeds.
func (n *network) each(ctx context.Context, f func(*way) error) error {
	var failed error
	for _, w := range n.order() {
		err := f(w)
		if err == nil {
			n.prefer(w)
			return nil
		}
		if final(err) {
			return err
		}
		failed = worse(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// eachPeer calls f for one server after the other that a way leads to, until it
// succeeds.
func (n *network) eachPeer(ctx context.Context, w *way, f func(*trust.Peer) error) error {
	peers, failed := n.introduced(ctx, w, false)
	for _, p := range peers {
		err := f(p)
		if err == nil {
			w.prefer(p.Server)
			return nil
		}
		if final(err) {
			return err
		}
		failed = worse(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// final reports whether asking somebody else would be of no use.
func final(err error) bool {
	_, denied := errors.AsType[*DeniedError](err)
	return denied
}

// attempt is one exchange with one server: once, and a second time where a new
// introduction, another time or a newer epoch may help.
func (n *network) attempt(ctx context.Context, w *way, peer *trust.Peer, t talk) error {
	hint := int64(0)
	for again := false; ; again = true {
		if again {
			var err error
			if peer, err = n.anew(ctx, w, peer); err != nil {
				return err
			}
		}
		asked, err := n.question(peer, t, hint)
		if err != nil {
			return err
		}
		answer, err := n.send(ctx, w, peer, asked.Sealed)
		if err != nil {
			if lost(err) {
				t.asked[peer.Hash] = asked
			}
			if !again && (pause(ctx, err) || curable(w, err)) && ctx.Err() == nil {
				hint = w.hint(ctx, peer.Server)
				continue
			}
			return unavailable(err)
		}
		err = n.hear(ctx, w, peer, t, asked, answer)
		// Another goroutine may have learned of another membership while this answer
		// was on its way: that is no rollback, but the answer is out of date.
		if errors.Is(err, ErrRollback) && !again && n.view.Mark().Epoch.Compare(asked.Since) > 0 {
			continue
		}
		return err
	}
}

// question is the message for a server: the one whose answer did not come, while
// it lasts, or a new one.
func (n *network) question(p *trust.Peer, t talk, hint int64) (*trust.Asked, error) {
	last, ok := t.asked[p.Hash]
	delete(t.asked, p.Hash)
	if ok && hint == 0 && n.view.Lasts(last) {
		return last, nil
	}
	return t.ask(p, hint)
}

// lost reports whether the server may have answered although no answer came.
func lost(err error) bool {
	status, refused := refusedStatus(err)
	return !refused && !errors.Is(err, ErrSendToken) || status == http.StatusGatewayTimeout
}

// send carries a sealed message, with one send token after the other where one is
// asked for: a server that gives out a bad one must not lock the others away.
func (n *network) send(ctx context.Context, w *way, p *trust.Peer, sealed []byte) ([]byte, error) {
	to := transport.Peer{TLS: p.Descriptor.TLS, Mailbox: p.Descriptor.Mailbox}
	if w.direct() {
		return w.carrier.Exchange(ctx, to, sealed)
	}
	tokens := n.tokens.Tokens()
	if len(tokens) == 0 {
		return nil, ErrSendToken
	}
	var failed error
	for _, token := range tokens {
		to.Token = token
		answer, err := w.carrier.Exchange(ctx, to, sealed)
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
func (n *network) hear(ctx context.Context, w *way, p *trust.Peer, t talk, asked *trust.Asked, answer []byte) error {
	err := t.hear(asked, answer)
	if !errors.Is(err, trust.ErrMembers) {
		return err
	}
	if _, err := n.anew(ctx, w, p); err != nil {
		return err
	}
	if err = t.hear(asked, answer); errors.Is(err, trust.ErrMembers) {
		return fmt.Errorf("%w: it answers for a membership that it does not show", ErrIntegrity)
	}
	return err
}

// curable reports whether a failed exchange may succeed with a new introduction:
// the server was started again and has other keys, another mailbox at its relay,
// or found the request's time wrong.
func curable(w *way, err error) bool {
	switch status, _ := refusedStatus(err); status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusConflict:
		return true
	case http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable:
		return !w.direct()
	}
	return errors.Is(err, tlscert.ErrPin)
}

// pause waits as long as a busy server asks for, and reports whether that was the
// trouble.
func pause(ctx context.Context, err error) bool {
	refusal, ok := errors.AsType[*transport.Error](err)
	if !ok || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter > maxPause {
		return false
	}
	timer := time.NewTimer(refusal.RetryAfter)
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

// call sends a JSON call to one server after the other. Only direct ways carry
// such.
func (n *network) call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error) {
	if !slices.ContainsFunc(n.order(), (*way).direct) {
		return nil, ErrNeedsDirect
	}
	var out []byte
	err := n.each(ctx, func(w *way) error {
		l, ok := w.carrier.(line)
		if !ok {
			return unavailable(ErrNeedsDirect)
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
			return unavailable(err)
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
