// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"claviger/internal/wire"
)

// Lives of records in the table. An introduction lives as long as its descriptor.
const (
	statementLife = 24 * time.Hour
	tokensLife    = 49 * time.Hour
)

func (f *Front) now() int64 { return f.o.Clock.Now().UnixMilli() }

// slower holds one mailbox to a few writes a second: each is synced, and told to
// all who follow.
func (f *Front) slower(c *call) error {
	if !f.writes.Take(c.caller, f.o.Clock.Boot()) {
		return errBusy
	}
	return nil
}

func (f *Front) putIntroduction(c *call) error {
	if err := f.slower(c); err != nil {
		return err
	}
	c.seen.Mailbox = c.caller.String()
	now := f.now()
	in, err := f.boards.judgeIntroduction(c.domain, c.body, now)
	if err != nil {
		return err
	}
	// Security: else anybody could repeat an introduction, and hold its place.
	if in.descriptor.Mailbox != c.caller {
		return errRefused
	}
	server := in.descriptor.Server
	if f.boards.crowded(c.domain, server, now) {
		return errFull
	}
	previous := func() (uint64, bool, error) {
		old := f.boards.seatOf(c.domain, server).introduced
		switch {
		case old == nil:
			return 0, false, nil
		case bytes.Equal(old.raw, c.body):
			return old.revision, true, nil
		case old.descriptor.NotAfter > now && old.descriptor.Issued >= in.descriptor.Issued && !moreMembers(in, old):
			return 0, false, errStale
		}
		return old.revision, false, nil
	}
	if _, _, err := previous(); err != nil {
		return err
	}
	// First, so that nobody finds a server whose mailbox opens to no token.
	if hashes, ok := f.early.claim(c.caller); ok {
		if err := f.openMailbox(c.r.Context(), c.domain, server, c.caller, hashes); err != nil {
			return err
		}
	}
	life := time.Duration(in.descriptor.NotAfter-now) * time.Millisecond
	return f.put(c.r.Context(), keyOf(c.domain, recordIntroduction, server), c.body, life, previous)
}

// moreMembers reports whether an introduction of the same descriptor brings a
// longer chain: a server renews the one when members change, the other daily.
func moreMembers(in, old *introduced) bool {
	return in.descriptor.Issued == old.descriptor.Issued && len(in.members.Chain) > len(old.members.Chain)
}

func (f *Front) putStatement(c *call) error {
	if err := f.slower(c); err != nil {
		return err
	}
	c.seen.Mailbox = c.caller.String()
	now := f.now()
	peeked, err := wire.PeekStatement(c.body)
	if err != nil {
		return errMalformed
	}
	key, err := f.boards.mayBring(c.domain, peeked.Server, c.caller, now)
	if err != nil {
		return err
	}
	s, err := wire.ParseStatement(c.body, key)
	if err != nil || s.Domain != c.domain || s.Issued > now+skew.Milliseconds() {
		return errRefused
	}
	return f.put(c.r.Context(), keyOf(c.domain, recordStatement, s.Server), c.body, statementLife, func() (uint64, bool, error) {
		old := f.boards.seatOf(c.domain, s.Server).stated
		switch {
		case old == nil:
			return 0, false, nil
		case bytes.Equal(old.raw, c.body):
			return old.revision, true, nil
		case old.issued >= s.Issued:
			return 0, false, errStale
		}
		return old.revision, false, nil
	})
}

func (f *Front) putTokens(c *call) error {
	if err := f.slower(c); err != nil {
		return err
	}
	hashes, err := parseTokens(c.body)
	if err != nil {
		return err
	}
	domain, in, ok := f.boards.homeOf(c.mailbox, f.now())
	if ok {
		return f.openMailbox(c.r.Context(), domain, in.descriptor.Server, c.mailbox, hashes)
	}
	// A server opens its mailbox before it says where it is. Every process hears
	// of it, since the introduction may come to another.
	f.early.hold(c.mailbox, hashes, f.o.Clock.Boot())
	return f.o.Bus.Tell(addressAll, say(sayTokens, c.mailbox[:], c.body))
}

func (f *Front) openMailbox(ctx context.Context, domain wire.DomainID, server wire.ServerID, mailbox wire.Hash, hashes []wire.Hash) error {
	value := wire.Marshal(openedRecord{Mailbox: mailbox, Hashes: hashes})
	return f.put(ctx, keyOf(domain, recordTokens, server), value, tokensLife, func() (uint64, bool, error) {
		if old := f.boards.seatOf(domain, server).opened; old != nil {
			return old.revision, false, nil
		}
		return 0, false, nil
	})
}

// put writes a record over the one that previous finds, which says also if that is
// the same one. After a conflict it looks again at what the table has.
func (f *Front) put(ctx context.Context, key string, value []byte, life time.Duration, previous func() (revision uint64, same bool, err error)) error {
	for range 4 {
		revision, same, err := previous()
		if err != nil || same {
			return err
		}
		r := Record{Key: key, Value: value, Revision: revision}
		r.Revision, err = f.o.Table.Put(ctx, r, life)
		if err == nil {
			return f.boards.apply(r, f.now())
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		newest, err := f.o.Table.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			f.boards.forget(key, revision) // it has expired
			continue
		}
		if err != nil {
			return err
		}
		if err := f.boards.apply(newest, f.now()); err != nil {
			return err
		}
	}
	return errBusy
}

// early holds the tokens of mailboxes that are on no board yet, for as long as it
// takes to send an introduction.
type early struct {
	mu   sync.Mutex
	held map[wire.Hash]earlyTokens
}

type earlyTokens struct {
	hashes []wire.Hash
	until  time.Duration
}

// Bounds of what is held for strangers.
const (
	maxEarly  = 4096
	earlyLife = time.Minute
)

// hold keeps tokens until a boot time; where there is no room, the oldest give way
// or, if all are new, the newcomer.
func (e *early) hold(mailbox wire.Hash, hashes []wire.Hash, now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.held) >= maxEarly {
		for m, t := range e.held {
			if t.until <= now {
				delete(e.held, m)
			}
		}
	}
	if len(e.held) < maxEarly {
		e.held[mailbox] = earlyTokens{hashes, now + earlyLife}
	}
}

// claim returns what is held for a mailbox.
func (e *early) claim(mailbox wire.Hash) ([]wire.Hash, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.held[mailbox]
	delete(e.held, mailbox)
	return t.hashes, ok
}
