// SPDX-License-Identifier: Apache-2.0

package ways

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

// Carrier takes sealed messages to one server or several, whatever lies between:
// a direct connection, a relay, a directory. Nothing that comes back is believed
// here.
type Carrier interface {
	Introductions(ctx context.Context) ([][]byte, error)
	Exchange(ctx context.Context, to transport.Peer, sealed []byte) ([]byte, error)
	Statements(ctx context.Context) ([][]byte, error)
}

// follower is a [Carrier] that tells of each new statement.
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
	_ Carrier  = transport.DirectWay{}
	_ Carrier  = (*transport.Relay)(nil)
	_ Carrier  = (*transport.Directory)(nil)
	_ follower = transport.DirectWay{}
	_ follower = (*transport.Relay)(nil)
	_ follower = (*transport.Directory)(nil)
)

// Way is one address with the servers that were found there.
type Way struct {
	Address string
	Carrier Carrier
	// Inbox is where the holder of a mailbox finds what was sent to it; nil if there
	// are none on this way.
	Inbox func(*transport.Mailbox) Inbox

	mu    sync.Mutex
	peers []*trust.Peer // the one that answered last first
}

// NewWay reads an address: host:port, https://relay[#pin] or file:///directory.
func NewWay(address string, domain wire.DomainID, o transport.Options) (*Way, error) {
	a, err := transport.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	w := &Way{Address: a.String()}
	switch a.Kind {
	case transport.KindRelay:
		var relay *transport.Relay
		relay, err = transport.NewRelay(a, domain, o)
		w.Carrier, w.Inbox = relay, func(m *transport.Mailbox) Inbox { return relay.As(m) }
	case transport.KindDirectory:
		var directory *transport.Directory
		directory, err = transport.NewDirectory(a, domain, o)
		w.Carrier, w.Inbox = directory, func(m *transport.Mailbox) Inbox { return directory.As(m) }
	default:
		var direct *transport.Direct
		if direct, err = transport.NewDirect(address, o); err == nil {
			w.Carrier = direct.Way()
		}
	}
	return w, err
}

// Direct reports whether the way leads to a server itself.
func (w *Way) Direct() bool {
	_, ok := w.Carrier.(line)
	return ok
}

// Peers are the servers that were found there and believed, the one that answered
// last first.
func (w *Way) Peers() []*trust.Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.peers)
}

// prefer has a server asked first next time.
func (w *Way) prefer(server wire.ServerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := slices.IndexFunc(w.peers, func(p *trust.Peer) bool { return p.Server == server }); at > 0 {
		next := []*trust.Peer{w.peers[at]}
		w.peers = append(append(next, w.peers[:at]...), w.peers[at+1:]...)
	}
}

// hint asks what time a server thinks it is. A lie costs the next request and
// nothing else.
func (w *Way) hint(ctx context.Context, server wire.ServerID) int64 {
	all, err := w.Carrier.Statements(ctx)
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
func (n *Network) introduced(ctx context.Context, w *Way, anew bool) ([]*trust.Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = slices.DeleteFunc(slices.Clone(w.peers), func(p *trust.Peer) bool { return !n.view.Usable(p) })
	if len(w.peers) > 0 && !anew {
		return w.peers, nil
	}
	all, err := w.Carrier.Introductions(ctx)
	if err != nil {
		w.peers = nil
		return nil, Unavailable(err)
	}
	peers, failed := n.believe(w, all)
	if len(peers) == 0 && failed == nil {
		failed = Unavailable(fmt.Errorf("no server of the domain is at %s", w.Address))
	}
	if l, ok := w.Carrier.(line); ok && len(peers) > 0 {
		l.Pin(peers[0].Descriptor.TLS)
	}
	w.peers = inOrder(peers, w.peers)
	return w.peers, failed
}

// believe judges introductions. A server that lies keeps nobody from another.
func (n *Network) believe(w *Way, all [][]byte) (peers []*trust.Peer, failed error) {
	for _, data := range all[:min(len(all), wire.MaxBoardServers)] {
		p, err := n.view.Introduce(data)
		if err != nil {
			n.doubts.hear(w, wire.ServerID{}, err)
			failed = Worse(failed, err)
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

// Introduce meets a server by whichever way. Nothing is asked of it.
func (n *Network) Introduce(ctx context.Context) error {
	return n.each(ctx, func(w *Way) error {
		_, err := n.introducedOne(ctx, w)
		return err
	})
}

// introducedOne is introduced for who needs any one server.
func (n *Network) introducedOne(ctx context.Context, w *Way) (*trust.Peer, error) {
	peers, err := n.introduced(ctx, w, false)
	if len(peers) == 0 {
		return nil, err
	}
	return peers[0], nil
}

// introducedAgain introduces the servers of a way again; it fails if none is
// believed.
func (n *Network) introducedAgain(ctx context.Context, w *Way) error {
	if peers, err := n.introduced(ctx, w, true); len(peers) == 0 {
		return err
	}
	return nil
}

// anew introduces the servers of a way again and returns the one that was meant,
// or the only one there now.
func (n *Network) anew(ctx context.Context, w *Way, last *trust.Peer) (*trust.Peer, error) {
	peers, err := n.introduced(ctx, w, true)
	for _, p := range peers {
		if p.Server == last.Server || len(peers) == 1 {
			return p, nil
		}
	}
	if err == nil {
		err = Unavailable(errors.New("the server is there no more"))
	}
	return nil, err
}
