// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// route carries sealed messages to one server, whatever lies between. Nothing
// that comes back is believed here.
type route interface {
	Introduction(ctx context.Context) ([]byte, error)
	Exchange(ctx context.Context, sealed []byte) ([]byte, error)
	Statement(ctx context.Context) ([]byte, error)
}

// line is what a direct route has besides: a connection that is pinned to one TLS
// key and carries calls of its own.
type line interface {
	Pin(key wire.Hash)
	Refresh()
	Call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error)
}

var (
	_ route = (*transport.Direct)(nil)
	_ line  = (*transport.Direct)(nil)
)

// server is one route with the peer that was found at its end.
type server struct {
	route route

	mu   sync.Mutex
	peer *trust.Peer
}

// network talks to whichever server of one domain answers.
type network struct {
	view    *trust.View
	servers []*server

	mu        sync.Mutex
	preferred int // index of the server that answered last
}

// newNetwork makes a direct route for each address.
func newNetwork(view *trust.View, addresses []string, o transport.Options) (*network, error) {
	n := &network{view: view}
	for _, address := range addresses {
		direct, err := transport.NewDirect(address, o)
		if err != nil {
			return nil, err
		}
		n.servers = append(n.servers, &server{route: direct})
	}
	if len(n.servers) == 0 {
		return nil, errors.New("no server address is known")
	}
	return n, nil
}

// order lists the servers, the one that answered last first.
func (n *network) order() []*server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append(append([]*server{}, n.servers[n.preferred:]...), n.servers[:n.preferred]...)
}

func (n *network) prefer(s *server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, have := range n.servers {
		if have == s {
			n.preferred = i
		}
	}
}

// refresh makes the next connections show the certificate of that moment.
func (n *network) refresh() {
	for _, s := range n.servers {
		if l, ok := s.route.(line); ok {
			l.Refresh()
		}
	}
}

// introduced returns the server's peer, from a new introduction if there is none
// that is usable or anew says so.
func (n *network) introduced(ctx context.Context, s *server, anew bool) (*trust.Peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer != nil && !anew && n.view.Usable(s.peer) {
		return s.peer, nil
	}
	s.peer = nil
	data, err := s.route.Introduction(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	peer, err := n.view.Introduce(data)
	if err != nil {
		return nil, err
	}
	if l, ok := s.route.(line); ok {
		l.Pin(peer.Descriptor.TLS)
	}
	s.peer = peer
	return peer, nil
}

// talk is one exchange: how to ask a given peer, and how to judge the answer.
// Both may be called more than once; hint is a time to address the request with,
// zero for none.
type talk struct {
	ask  func(p *trust.Peer, hint int64) (*trust.Asked, error)
	hear func(a *trust.Asked, answer []byte) error
}

// exchange asks one server after the other until one answers what counts. A
// denial counts. Of several failures the gravest is returned.
func (n *network) exchange(ctx context.Context, t talk) error {
	return n.each(ctx, func(s *server) error { return n.attempt(ctx, s, t) })
}

// each calls f for one server after the other until it succeeds.
func (n *network) each(ctx context.Context, f func(*server) error) error {
	var failed error
	for _, s := range n.order() {
		err := f(s)
		if err == nil {
			n.prefer(s)
			return nil
		}
		if _, denied := errors.AsType[*DeniedError](err); denied {
			return err
		}
		failed = worse(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// attempt is one exchange with one server: once, and a second time where a new
// introduction, another time or a newer epoch may help.
func (n *network) attempt(ctx context.Context, s *server, t talk) error {
	hint := int64(0)
	for again := false; ; again = true {
		peer, err := n.introduced(ctx, s, again)
		if err != nil {
			return err
		}
		asked, err := t.ask(peer, hint)
		if err != nil {
			return err
		}
		answer, err := s.route.Exchange(ctx, asked.Sealed)
		if err != nil {
			if !again && (pause(ctx, err) || curable(err)) && ctx.Err() == nil {
				hint = n.hint(ctx, s)
				continue
			}
			return unavailable(err)
		}
		err = n.hear(ctx, s, t, asked, answer)
		// Another goroutine may have learned of another membership while this answer
		// was on its way: that is no rollback, but the answer is out of date.
		if errors.Is(err, ErrRollback) && !again && n.view.Mark().Epoch.Compare(asked.Since) > 0 {
			continue
		}
		return err
	}
}

// hear judges an answer, after a new introduction if it is of another membership.
func (n *network) hear(ctx context.Context, s *server, t talk, asked *trust.Asked, answer []byte) error {
	err := t.hear(asked, answer)
	if !errors.Is(err, trust.ErrMembers) {
		return err
	}
	if _, err := n.introduced(ctx, s, true); err != nil {
		return err
	}
	if err = t.hear(asked, answer); errors.Is(err, trust.ErrMembers) {
		return fmt.Errorf("%w: it answers for a membership that it does not show", ErrIntegrity)
	}
	return err
}

// curable reports whether a failed exchange may succeed with a new introduction:
// the server was started again and has other keys, or found the request's time
// wrong.
func curable(err error) bool {
	status, refused := refusedStatus(err)
	return errors.Is(err, tlscert.ErrPin) ||
		refused && (status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusConflict)
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

// hint asks a server what time it thinks it is. A lie costs the next request and
// nothing else.
func (n *network) hint(ctx context.Context, s *server) int64 {
	data, err := s.route.Statement(ctx)
	if err != nil {
		return 0
	}
	claim, err := wire.PeekStatement(data)
	if err != nil {
		return 0
	}
	return claim.Issued
}

// call sends a JSON call to one server after the other.
func (n *network) call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error) {
	var out []byte
	err := n.each(ctx, func(s *server) error {
		l, ok := s.route.(line)
		if !ok {
			return unavailable(errors.New("this way to the server carries no calls"))
		}
		if _, err := n.introduced(ctx, s, false); err != nil {
			return err
		}
		answer, err := l.Call(ctx, method, path, body, limit)
		if errors.Is(err, tlscert.ErrPin) {
			if _, err := n.introduced(ctx, s, true); err != nil {
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

// news gets a statement from one server after the other until one is believed.
func (n *network) news(ctx context.Context) error {
	return n.each(ctx, func(s *server) error {
		if _, err := n.introduced(ctx, s, false); err != nil {
			return err
		}
		data, err := s.route.Statement(ctx)
		if errors.Is(err, tlscert.ErrPin) {
			if _, err := n.introduced(ctx, s, true); err != nil {
				return err
			}
			data, err = s.route.Statement(ctx)
		}
		if err != nil {
			return unavailable(err)
		}
		err = n.view.Statement(data)
		if errors.Is(err, trust.ErrMembers) {
			if _, err := n.introduced(ctx, s, true); err != nil {
				return err
			}
			err = n.view.Statement(data)
		}
		return err
	})
}

func (n *network) close() { n.refresh() }
