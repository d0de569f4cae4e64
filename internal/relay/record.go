// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"claviger/internal/members"
	"claviger/internal/wire"
)

// apply takes over a record that the table tells, or that was just put there.
// What another process put was judged there; it is parsed here only as far as it
// is used, and what can't be parsed is left out.
func (b *boards) apply(r Record, now int64) error {
	domain, kind, server, err := parseKey(r.Key)
	if err != nil || !b.serves(domain) {
		return nil // of a domain that this process doesn't serve
	}
	switch kind {
	case recordIntroduction:
		in, err := b.readIntroduction(domain, r)
		if err != nil {
			return err
		}
		b.introduce(domain, server, in, now)
	case recordStatement:
		s, err := wire.PeekStatement(r.Value)
		if err != nil {
			return err
		}
		b.state(domain, server, &stated{raw: r.Value, issued: s.Issued, revision: r.Revision})
	case recordTokens:
		o, err := parseOpened(r.Value)
		if err != nil {
			return err
		}
		o.revision = r.Revision
		b.open(domain, server, o)
	}
	return nil
}

func (b *boards) readIntroduction(domain wire.DomainID, r Record) (*introduced, error) {
	in, err := wire.ParseIntroduction(r.Value)
	if err != nil {
		return nil, err
	}
	d, err := wire.PeekDescriptor(in.Descriptor)
	if err != nil {
		return nil, err
	}
	b.mu.RLock()
	state := b.chain(domain, in.Members)
	b.mu.RUnlock()
	if state == nil {
		if state, err = members.Verify(in.Members, domain); err != nil {
			return nil, err
		}
	}
	return &introduced{raw: r.Value, descriptor: d, members: state, revision: r.Revision}, nil
}

// introduce seats a server, and forgets those whose descriptors have ended: what
// is kept is bounded by those who are introduced.
func (b *boards) introduce(domain wire.DomainID, server wire.ServerID, in *introduced, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.domains[domain]
	for id, s := range d.seats {
		if id != server && s.introduced != nil && s.introduced.descriptor.NotAfter <= now {
			b.vacate(d, id)
		}
	}
	s := d.seat(server)
	if s.introduced == nil || s.introduced.revision < in.revision {
		s.introduced = in
	}
	b.news(d)
}

func (b *boards) state(domain wire.DomainID, server wire.ServerID, st *stated) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.domains[domain]
	s := d.seat(server)
	if s.stated == nil || s.stated.revision < st.revision {
		s.stated = st
		b.news(d)
	}
}

func (b *boards) open(domain wire.DomainID, server wire.ServerID, o *opened) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.domains[domain].seat(server)
	if s.opened != nil && s.opened.revision >= o.revision {
		return
	}
	if s.opened != nil && b.opens[s.opened.mailbox] == s.opened {
		delete(b.opens, s.opened.mailbox)
	}
	s.opened = o
	b.opens[o.mailbox] = o
}

// news wakes the followers of a board.
func (b *boards) news(d *board) {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (b *boards) vacate(d *board, server wire.ServerID) {
	if s := d.seats[server]; s.opened != nil && b.opens[s.opened.mailbox] == s.opened {
		delete(b.opens, s.opened.mailbox)
	}
	delete(d.seats, server)
}

func (d *board) seat(server wire.ServerID) *seat {
	s := d.seats[server]
	if s == nil {
		s = &seat{}
		d.seats[server] = s
	}
	return s
}

// openedRecord is how the tokens of a mailbox lie in the table.
type openedRecord struct {
	_       struct{} `cbor:",toarray"`
	Mailbox wire.Hash
	Hashes  []wire.Hash
}

func parseOpened(data []byte) (*opened, error) {
	var r openedRecord
	if err := wire.Unmarshal(data, &r, 2*maxTokensBody); err != nil {
		return nil, err
	}
	return &opened{mailbox: r.Mailbox, hashes: r.Hashes}, nil
}

// parseTokens reads the body of a put-tokens request.
func parseTokens(data []byte) ([]wire.Hash, error) {
	var hashes []wire.Hash
	if wire.Unmarshal(data, &hashes, maxTokensBody) != nil || len(hashes) == 0 || len(hashes) > wire.MaxSendTokens {
		return nil, errMalformed
	}
	return hashes, nil
}

// forget drops the part of a seat that the table has no longer.
func (b *boards) forget(key string, revision uint64) {
	domain, kind, server, err := parseKey(key)
	if err != nil || !b.serves(domain) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.domains[domain].seat(server)
	switch {
	case kind == recordIntroduction && s.introduced != nil && s.introduced.revision == revision:
		s.introduced = nil
	case kind == recordStatement && s.stated != nil && s.stated.revision == revision:
		s.stated = nil
	case kind == recordTokens && s.opened != nil && s.opened.revision == revision:
		if b.opens[s.opened.mailbox] == s.opened {
			delete(b.opens, s.opened.mailbox)
		}
		s.opened = nil
	}
}
