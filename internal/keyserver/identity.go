// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"fmt"
	"sync"
	"time"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

const (
	descriptorLife  = 24 * time.Hour
	descriptorRenew = 12 * time.Hour
)

// identity is what the server says of itself: descriptors, whose private halves
// live in memory only and are new at each start and twice a day, and statements.
type identity struct {
	core *Core

	mu        sync.Mutex
	current   described
	former    *described
	offset    time.Duration // of the wall clock from the boot clock, when last seen
	statement []byte
	stated    time.Time
	statedAt  wire.Epoch
}

// clockStep is how far the wall clock may go back, against the boot clock,
// before every request made until then is void.
const clockStep = 2 * time.Second

// described is a descriptor and its private key.
type described struct {
	key    *wire.Key
	signed []byte
	hash   wire.Hash
	issued time.Time
}

func newIdentity(c *Core) (*identity, error) {
	id := &identity{core: c}
	id.offset = id.wallOffset()
	var err error
	id.current, err = id.describe()
	return id, err
}

func (id *identity) wallOffset() time.Duration {
	return time.Duration(id.core.Now().UnixNano()) - id.core.clock.Boot()
}

func (id *identity) describe() (described, error) {
	c := id.core
	d := described{key: wire.NewKey(), issued: c.Now()}
	payload := wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: c.o.Domain, Server: c.id, HPKE: d.key.Public(), TLS: c.o.TLSKey,
		Mailbox: c.o.Mailbox, Issued: d.issued.UnixMilli(), NotAfter: d.issued.Add(descriptorLife).UnixMilli(),
	}
	var err error
	d.signed, err = wire.Sign(wire.TypeDescriptor, wire.Marshal(payload), c.signer)
	d.hash = wire.DescriptorHash(d.signed)
	return d, err
}

// refresh makes a new descriptor twice a day and forgets the private key of one
// that has ended, whether anybody asks or not.
func (id *identity) refresh() error {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.refreshLocked()
}

func (id *identity) refreshLocked() error {
	now, offset := id.core.Now(), id.wallOffset()
	// Security: set back, the clock would make requests good again that were
	// answered and forgotten. Their keys go, so nothing opens them.
	back := offset < id.offset-clockStep
	id.offset = offset
	age := now.Sub(id.current.issued)
	if !back && age >= 0 && age <= descriptorRenew {
		if id.former != nil && now.Sub(id.former.issued) > descriptorLife {
			id.former = nil
		}
		return nil
	}
	next, err := id.describe()
	if err != nil {
		return err
	}
	old := id.current
	id.former, id.current = &old, next
	if back || age > descriptorLife {
		id.former = nil
	}
	if back {
		id.statement = nil
		id.core.logger.Warn("The clock was set back; clients fetch a new descriptor")
	}
	return nil
}

// Introduction is what a client needs to meet this server: its descriptor and
// the member chain.
func (c *Core) Introduction() (wire.Introduction, error) { return c.own.introduction() }

// Holders is how many hold leases that were released by this run of the server or
// by one that its audit log tells of.
func (c *Core) Holders() int { return c.holding.Holders() }

// Changed returns a channel that is closed when the log moves: then there is a new
// statement, which says so.
func (c *Core) Changed() <-chan struct{} { return c.log.Changed() }

// Statement is a signed epoch statement, at most Options.StatementEvery old.
func (c *Core) Statement() ([]byte, error) { return c.own.newestStatement() }

// introduction is the current descriptor with the member chain.
func (id *identity) introduction() (wire.Introduction, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if err := id.refreshLocked(); err != nil {
		return wire.Introduction{}, err
	}
	out := wire.Introduction{Descriptor: id.current.signed}
	id.core.log.View(func(s *authority.State) { out.Members = s.Members.Chain })
	return out, nil
}

// open opens a sealed message with the key of the descriptor it was sealed to,
// and returns that descriptor's hash.
func (id *identity) open(typ string, sealed []byte, limit int) ([]byte, wire.Hash, error) {
	id.mu.Lock()
	err := id.refreshLocked()
	tries := []described{id.current}
	if id.former != nil {
		tries = append(tries, *id.former)
	}
	id.mu.Unlock()
	if err != nil {
		return nil, wire.Hash{}, err
	}
	for _, d := range tries {
		var plain []byte
		if plain, err = d.key.Open(typ, d.hash, sealed, limit); err == nil {
			return plain, d.hash, nil
		}
	}
	return nil, wire.Hash{}, fmt.Errorf("%w: no present descriptor opens it; fetch the introduction again: %w", ErrMalformed, err)
}

// newestStatement returns a signed statement: the last one if it is younger than
// the interval and the log has not moved, else a new one.
func (id *identity) newestStatement() ([]byte, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	c := id.core
	// Security: a server that stopped must not vouch for a state that it can't
	// follow any more.
	if err := c.Usable(); err != nil {
		return nil, err
	}
	now := c.Now()
	if age := now.Sub(id.stated); id.statement != nil && age >= 0 && age < c.o.StatementEvery && id.statedAt == c.epoch() {
		return id.statement, nil
	}
	cp, err := c.audit.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s := wire.Statement{Type: wire.TypeStatement, Domain: c.o.Domain, Server: c.id, Checkpoint: cp.Checkpoint, Issued: now.UnixMilli()}
	c.log.View(func(st *authority.State) {
		s.Epoch, s.Head, s.Members = st.Epoch, st.Head, st.Members.Newest
		s.Revoked = st.Revocations(now.UnixMilli())
	})
	if len(s.Revoked) > wire.MaxRevocations {
		// More than a statement can name: the reserved id stops everything, and
		// clients ask for what they may still use.
		s.Revoked = []wire.RevocationID{wire.RevokeEverything}
	}
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(s), c.signer)
	if err != nil {
		return nil, err
	}
	id.statement, id.stated, id.statedAt = signed, now, s.Epoch
	c.holding.Stated(s.Epoch, s.Issued)
	return signed, nil
}
