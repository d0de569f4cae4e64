// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"claviger/client/internal/trust"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// carrier takes sealed messages to one server or several, whatever lies between:
// a direct connection, a relay, a directory. Nothing that comes back is believed
// here.
type carrier interface {
	Introductions(ctx context.Context) ([][]byte, error)
	Exchange(ctx context.Context, to transport.Peer, sealed []byte) ([]byte, error)
	Statements(ctx context.Context) ([][]byte, error)
}

// follower is a carrier that tells of each new statement.
type follower interface {
	Follow(ctx context.Context) iter.Seq2[[]byte, error]
}

// line is what a direct way has besides: a connection that is pinned to one TLS
// key and carries calls of its own.
type line interface {
	Pin(key wire.Hash)
	Refresh()
	Call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error)
}

var (
	_ line     = transport.DirectWay{}
	_ carrier  = transport.DirectWay{}
	_ carrier  = (*transport.Relay)(nil)
	_ carrier  = (*transport.Directory)(nil)
	_ follower = transport.DirectWay{}
	_ follower = (*transport.Relay)(nil)
	_ follower = (*transport.Directory)(nil)
)

// way is one address with the servers that were found there.
type way struct {
	address string
	carrier carrier

	mu    sync.Mutex
	peers []*trust.Peer // the one that answered last first
}

// newWay reads an address: host:port, https://relay[#pin] or file:///directory.
func newWay(address string, domain wire.DomainID, o transport.Options) (*way, error) {
	a, err := transport.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	w := &way{address: a.String()}
	switch a.Kind {
	case transport.KindRelay:
		w.carrier, err = transport.NewRelay(a, domain, o)
	case transport.KindDirectory:
		w.carrier, err = transport.NewDirectory(a, domain, o)
	default:
		var direct *transport.Direct
		if direct, err = transport.NewDirect(address, o); err == nil {
			w.carrier = direct.Way()
		}
	}
	return w, err
}

// direct reports whether the way leads to a server itself.
func (w *way) direct() bool {
	_, ok := w.carrier.(line)
	return ok
}

// prefer has a server asked first next time.
func (w *way) prefer(server wire.ServerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := slices.IndexFunc(w.peers, func(p *trust.Peer) bool { return p.Server == server }); at > 0 {
		next := []*trust.Peer{w.peers[at]}
		w.peers = append(append(next, w.peers[:at]...), w.peers[at+1:]...)
	}
}

// hint asks what time a server thinks it is. A lie costs the next request and
// nothing else.
func (w *way) hint(ctx context.Context, server wire.ServerID) int64 {
	all, err := w.carrier.Statements(ctx)
	if err != nil {
		return 0
	}
	for _, s := range all {
		if issued, ok := wireTime(s, server); ok {
			return issued
		}
	}
	return 0
}

// introduced returns the servers that the way leads to and that are believed,
// from new introductions if there is none that is usable or anew says so. With
// servers, an error is about others that were not believed.
func (n *network) introduced(ctx context.Context, w *way, anew bool) ([]*trust.Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = slices.DeleteFunc(slices.Clone(w.peers), func(p *trust.Peer) bool { return !n.view.Usable(p) })
	if len(w.peers) > 0 && !anew {
		return w.peers, nil
	}
	all, err := w.carrier.Introductions(ctx)
	if err != nil {
		w.peers = nil
		return nil, unavailable(err)
	}
	peers, failed := n.believe(all)
	if len(peers) == 0 && failed == nil {
		failed = unavailable(fmt.Errorf("no server of the domain is at %s", w.address))
	}
	if l, ok := w.carrier.(line); ok && len(peers) > 0 {
		l.Pin(peers[0].Descriptor.TLS)
	}
	w.peers = inOrder(peers, w.peers)
	return w.peers, failed
}

// believe judges introductions. A server that lies keeps nobody from another.
func (n *network) believe(all [][]byte) (peers []*trust.Peer, failed error) {
	for _, data := range all[:min(len(all), wire.MaxBoardServers)] {
		p, err := n.view.Introduce(data)
		if err != nil {
			failed = worse(failed, err)
			continue
		}
		if !slices.ContainsFunc(peers, func(have *trust.Peer) bool { return have.Server == p.Server }) {
			peers = append(peers, p)
		}
	}
	// What came later may have fenced one that came before.
	peers = slices.DeleteFunc(peers, func(p *trust.Peer) bool { return !n.view.Usable(p) })
	return peers, failed
}

// inOrder puts first who was first.
func inOrder(peers, before []*trust.Peer) []*trust.Peer {
	if len(before) == 0 {
		return peers
	}
	slices.SortStableFunc(peers, func(a, b *trust.Peer) int {
		switch first := before[0].Server; {
		case a.Server == first && b.Server != first:
			return -1
		case b.Server == first && a.Server != first:
			return 1
		}
		return 0
	})
	return peers
}

// introducedOne is introduced for who needs any one server.
func (n *network) introducedOne(ctx context.Context, w *way) (*trust.Peer, error) {
	peers, err := n.introduced(ctx, w, false)
	if len(peers) == 0 {
		return nil, err
	}
	return peers[0], nil
}

// introducedAgain introduces the servers of a way again; it fails if none is
// believed.
func (n *network) introducedAgain(ctx context.Context, w *way) error {
	if peers, err := n.introduced(ctx, w, true); len(peers) == 0 {
		return err
	}
	return nil
}

// anew introduces the servers of a way again and returns the one that was meant,
// or the only one there now.
func (n *network) anew(ctx context.Context, w *way, last *trust.Peer) (*trust.Peer, error) {
	peers, err := n.introduced(ctx, w, true)
	for _, p := range peers {
		if p.Server == last.Server || len(peers) == 1 {
			return p, nil
		}
	}
	if err == nil {
		err = unavailable(errors.New("the server is there no more"))
	}
	return nil, err
}
