// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// boards are what the relay keeps of its domains, in memory, as the table has
// told it. They are safe for concurrent use.
type boards struct {
	mu      sync.RWMutex
	domains map[wire.DomainID]*board
	opens   map[wire.Hash]*opened // by mailbox: those that a seat has
}

// board is one domain's.
type board struct {
	seats   map[wire.ServerID]*seat
	changed chan struct{} // closed at a new statement
}

// seat is what one server has put. Each part is replaced as a whole.
type seat struct {
	introduced *introduced
	stated     *stated
	opened     *opened
}

// introduced is a verified introduction.
type introduced struct {
	raw        []byte
	descriptor *wire.Descriptor
	members    *members.State
	revision   uint64
}

// stated is a statement that was verified when it came.
type stated struct {
	raw      []byte
	issued   int64
	revision uint64
}

// opened is a mailbox with the hashes of the tokens that open it.
type opened struct {
	mailbox  wire.Hash
	hashes   []wire.Hash
	revision uint64
}

func newBoards(domains []wire.DomainID) *boards {
	b := &boards{domains: map[wire.DomainID]*board{}, opens: map[wire.Hash]*opened{}}
	for _, d := range domains {
		b.domains[d] = &board{seats: map[wire.ServerID]*seat{}, changed: make(chan struct{})}
	}
	return b
}

func (b *boards) serves(domain wire.DomainID) bool { return b.domains[domain] != nil }

// newest is the longest member chain of a valid introduction; nil without one.
// Chains on a board never contradict each other: judge sees to it.
func (b *board) newest(now int64) *members.State {
	var out *members.State
	for _, s := range b.seats {
		if s.introduced == nil || s.introduced.descriptor.NotAfter <= now {
			continue
		}
		if out == nil || len(s.introduced.members.Chain) > len(out.Chain) {
			out = s.introduced.members
		}
	}
	return out
}

// live lists the seats of servers that are introduced, for the time being, and
// active by the newest chain. Order is by server id.
func (b *board) live(now int64) []*seat {
	newest := b.newest(now)
	var out []*seat
	for id, s := range b.seats {
		if s.introduced == nil || s.introduced.descriptor.NotAfter <= now {
			continue
		}
		if _, err := newest.ServerKey(id); err == nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y *seat) int {
		return bytes.Compare(x.introduced.descriptor.Server[:], y.introduced.descriptor.Server[:])
	})
	return out
}

// introductions and statements of servers that may serve.
func (b *boards) introductions(domain wire.DomainID, now int64) (out [][]byte) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.domains[domain].live(now) {
		out = append(out, s.introduced.raw)
	}
	return out
}

// news is a statement with the place in the table that tells it from others.
type news struct {
	server wire.ServerID
	*stated
}

// statements also returns the channel that is closed when there is another.
func (b *boards) statements(domain wire.DomainID, now int64) (out []news, changed <-chan struct{}) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	d := b.domains[domain]
	for _, s := range d.live(now) {
		if s.stated != nil {
			out = append(out, news{s.introduced.descriptor.Server, s.stated})
		}
	}
	return out, d.changed
}

// serverAt returns the server whose valid introduction names a mailbox.
func (b *boards) serverAt(domain wire.DomainID, mailbox wire.Hash, now int64) (*introduced, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.domains[domain].live(now) {
		if s.introduced.descriptor.Mailbox == mailbox {
			return s.introduced, true
		}
	}
	return nil, false
}

// homeOf finds the domain on whose board a mailbox is.
func (b *boards) homeOf(mailbox wire.Hash, now int64) (wire.DomainID, *introduced, bool) {
	for domain := range b.domains {
		if in, ok := b.serverAt(domain, mailbox, now); ok {
			return domain, in, true
		}
	}
	return wire.DomainID{}, nil, false
}

// opensWith reports whether a token, by its hash, opens a mailbox. The hash is
// public to the relay, so comparing it needs no constant time.
func (b *boards) opensWith(mailbox, token wire.Hash) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	o := b.opens[mailbox]
	return o != nil && slices.Contains(o.hashes, token)
}

// seatOf returns a copy of what a server has put.
func (b *boards) seatOf(domain wire.DomainID, server wire.ServerID) seat {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if s := b.domains[domain].seats[server]; s != nil {
		return *s
	}
	return seat{}
}

// judgeIntroduction holds an introduction against the board: what it returns may
// be put there. Its own signature work is one descriptor where the chain is known.
func (b *boards) judgeIntroduction(domain wire.DomainID, raw []byte, now int64) (*introduced, error) {
	in, err := wire.ParseIntroduction(raw)
	if err != nil {
		return nil, errMalformed
	}
	b.mu.RLock()
	newest := b.domains[domain].newest(now)
	known := b.chain(domain, in.Members)
	b.mu.RUnlock()
	if known == nil {
		if known, err = members.Verify(in.Members, domain); err != nil {
			return nil, errRefused
		}
	}
	peeked, err := wire.PeekDescriptor(in.Descriptor)
	if err != nil {
		return nil, errMalformed
	}
	key, err := known.ServerKey(peeked.Server)
	if err != nil {
		return nil, errRefused
	}
	d, err := wire.ParseDescriptor(in.Descriptor, key)
	if err != nil || d.Domain != domain || d.Mailbox.IsZero() || d.NotAfter <= now || d.Issued > now+skew.Milliseconds() {
		return nil, errRefused
	}
	if newest != nil {
		if !known.Contains(newest.Newest) && !newest.Contains(known.Newest) {
			return nil, refuse(http.StatusConflict, "refused", "its member chain contradicts the board's")
		}
		// Security: with an older chain, a fenced server would come back (T-33).
		if len(newest.Chain) > len(known.Chain) {
			if _, err := newest.ServerKey(d.Server); err != nil {
				return nil, errRefused
			}
		}
	}
	return &introduced{raw: raw, descriptor: d, members: known}, nil
}

// chain finds the state of a chain that is on the board already.
func (b *boards) chain(domain wire.DomainID, links [][]byte) *members.State {
	for _, s := range b.domains[domain].seats {
		if s.introduced != nil && slices.EqualFunc(s.introduced.members.Chain, links, bytes.Equal) {
			return s.introduced.members
		}
	}
	return nil
}

// mayBring is the key that a statement brought by this mailbox has to be signed
// with, by the newest chain.
func (b *boards) mayBring(domain wire.DomainID, server wire.ServerID, mailbox wire.Hash, now int64) (crypto.PublicKey, error) {
	in, ok := b.serverAt(domain, mailbox, now)
	if !ok || in.descriptor.Server != server {
		return nil, errRefused
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	newest := b.domains[domain].newest(now)
	if newest == nil {
		return nil, errRefused
	}
	key, err := newest.ServerKey(server)
	if err != nil {
		return nil, errRefused
	}
	return key, nil
}

// crowded reports whether a further server would be one too many.
func (b *boards) crowded(domain wire.DomainID, server wire.ServerID, now int64) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	live := b.domains[domain].live(now)
	return len(live) >= wire.MaxBoardServers && !slices.ContainsFunc(live, func(s *seat) bool {
		return s.introduced.descriptor.Server == server
	})
}

// Kinds of records.
const (
	recordIntroduction = "i"
	recordStatement    = "s"
	recordTokens       = "t"
)

// keyOf is the table's key of a server's record.
func keyOf(domain wire.DomainID, kind string, server wire.ServerID) string {
	return domain.String() + "." + kind + "." + server.String()
}

// parseKey reads a key of the table.
func parseKey(key string) (domain wire.DomainID, kind string, server wire.ServerID, err error) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return domain, "", server, ErrNotFound
	}
	d, err1 := hex.DecodeString(parts[0])
	s, err2 := hex.DecodeString(parts[2])
	if err1 != nil || err2 != nil || len(d) != len(domain) || len(s) != len(server) {
		return domain, "", server, ErrNotFound
	}
	domain, kind, server = wire.DomainID(d), parts[1], wire.ServerID(s)
	if keyOf(domain, kind, server) != key {
		return domain, "", server, ErrNotFound
	}
	return domain, kind, server, nil
}
