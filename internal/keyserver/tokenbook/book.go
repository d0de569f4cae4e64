// SPDX-License-Identifier: Apache-2.0

package tokenbook

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"claviger/internal/authn/bearer"
	"claviger/internal/authority/atrest"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// MaxMarks is how many marks one endpoint has at a time. Once half of them are there,
// one subject has no more than MaxOfOne: or it could keep all others from taking
// their tokens back.
const (
	MaxMarks = 100_000
	MaxOfOne = MaxMarks / 20
)

const (
	prefix = "tokens/"
	row    = 16 + 8 + 8 + 1 // bytes: id, Unix seconds, whose it is, whether it is revoked
	tries  = 8
)

var (
	// ErrFull means that the page holds as many marks as it may.
	ErrFull = fmt.Errorf("%d tokens of this endpoint are revoked or renewed", MaxMarks)
	// ErrEnded means that what was to be renewed is revoked.
	ErrEnded = errors.New("the token is revoked")
	// ErrStore means that the store fails, or that its page is not one of ours.
	ErrStore = errors.New("the store of tokens fails")
)

// Actions, as audit leaves name them.
const (
	Issue  = "token:issue" // leaves no mark
	Renew  = "token:renew"
	Revoke = "token:revoke"
)

// Mark is what became of a token.
type Mark struct {
	Action string
	ID     bearer.ID
	Until  time.Time // until when it was renewed; of a revoked one, when it would have ended at the latest
}

// Book is the book of one domain. It holds nothing: making one costs nothing.
type Book struct {
	Store  store.Slots
	Seal   *secret.Bytes // the slot seal; its owner wipes it
	Domain wire.DomainID

	// What its errors are to callers, besides: ErrFull and ErrEnded Refused, ErrStore
	// Away. Either may be nil.
	Refused, Away error
}

type entry struct {
	until   int64
	of      uint64 // names the subject
	revoked bool
}

// ofSubject names a subject in a few bytes: two that share them share a bound.
func ofSubject(subject string) uint64 {
	sum := sha256.Sum256([]byte(subject))
	return binary.BigEndian.Uint64(sum[:])
}

// Page is what the book says of one endpoint's tokens. It never changes.
type Page struct{ entries map[bearer.ID]entry }

// Revoked reports whether any of the tokens is.
func (p *Page) Revoked(ids ...bearer.ID) bool {
	for _, id := range ids {
		if p.entries[id].revoked {
			return true
		}
	}
	return false
}

// Renewed says until when a token was renewed; the zero time if it wasn't.
func (p *Page) Renewed(id bearer.ID) time.Time {
	if e, ok := p.entries[id]; ok && !e.revoked {
		return time.Unix(e.until, 0).UTC()
	}
	return time.Time{}
}

// Len is the number of marks.
func (p *Page) Len() int { return len(p.entries) }

// Join is a page with the revocations of an older one besides: those that a store
// which puts old slots back has taken away.
func (p *Page) Join(older *Page, now time.Time) *Page {
	if older == nil {
		return p
	}
	missing := false
	for id, e := range older.entries {
		missing = missing || e.revoked && e.until > now.Unix() && !p.entries[id].revoked
	}
	if !missing {
		return p
	}
	out := &Page{make(map[bearer.ID]entry, len(p.entries)+1)}
	for id, e := range p.entries {
		out.entries[id] = e
	}
	for id, e := range older.entries {
		if e.revoked && e.until > now.Unix() {
			out.entries[id] = e
		}
	}
	return out
}

// Read gives an endpoint's page. Errors: ErrStore.
func (b Book) Read(ctx context.Context, endpoint string) (*Page, error) {
	p, _, err := b.read(ctx, endpoint)
	return p, b.sorted(err)
}

// sorted says what an error is to callers.
func (b Book) sorted(err error) error {
	as := b.Refused
	if errors.Is(err, ErrStore) {
		as = b.Away
	}
	if err == nil || as == nil {
		return err
	}
	return fmt.Errorf("%w: %w", as, err)
}

func (b Book) read(ctx context.Context, endpoint string) (*Page, uint64, error) {
	p := &Page{map[bearer.ID]entry{}}
	sealed, version, err := b.Store.Get(ctx, prefix+endpoint)
	if errors.Is(err, store.ErrNotFound) {
		return p, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrStore, err)
	}
	plain, err := b.box().Open(sealed, b.place(endpoint))
	if err != nil {
		// Security: without its page nobody knows what is revoked.
		return nil, 0, fmt.Errorf("%w: the page of %s was changed", ErrStore, endpoint)
	}
	if err := p.decode(plain); err != nil {
		return nil, 0, err
	}
	return p, version, nil
}

// Mark writes a mark for a subject of an endpoint. Errors: ErrFull, ErrEnded,
// ErrStore.
func (b Book) Mark(ctx context.Context, endpoint, subject string, m Mark, now time.Time) error {
	if m.Action == Issue {
		return nil
	}
	return b.sorted(b.mark(ctx, endpoint, ofSubject(subject), m, now))
}

func (b Book) mark(ctx context.Context, endpoint string, of uint64, m Mark, now time.Time) error {
	for range tries {
		p, version, err := b.read(ctx, endpoint)
		if err != nil {
			return err
		}
		changed, err := p.add(of, m, now)
		if err != nil || !changed {
			return err
		}
		err = b.Store.Put(ctx, prefix+endpoint, version, b.box().Seal(p.encode(), b.place(endpoint)))
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return fmt.Errorf("%w: others write all the time", ErrStore)
}

// add changes a page that nobody else has.
func (p *Page) add(of uint64, m Mark, now time.Time) (changed bool, err error) {
	own := 0
	for id, e := range p.entries {
		switch {
		case e.until <= now.Unix():
			delete(p.entries, id)
		case e.of == of:
			own++
		}
	}
	have, known := p.entries[m.ID]
	next := entry{m.Until.Unix(), of, m.Action == Revoke}
	switch {
	case have.revoked && !next.revoked:
		return false, ErrEnded
	case !known && len(p.entries) >= MaxMarks:
		return false, ErrFull
	// Security: one subject doesn't fill the page of all (T-92).
	case !known && len(p.entries) >= MaxMarks/2 && own >= MaxOfOne:
		return false, ErrFull
	}
	next.until = max(next.until, have.until)
	p.entries[m.ID] = next
	return next != have, nil
}

func (p *Page) encode() []byte {
	out := make([]byte, 0, row*len(p.entries))
	for id, e := range p.entries {
		out = binary.BigEndian.AppendUint64(append(out, id[:]...), uint64(e.until))
		out = binary.BigEndian.AppendUint64(out, e.of)
		if e.revoked {
			out = append(out, 1)
		} else {
			out = append(out, 0)
		}
	}
	return out
}

func (p *Page) decode(plain []byte) error {
	if len(plain)%row != 0 || len(plain)/row > MaxMarks {
		return fmt.Errorf("%w: a page of another form", ErrStore)
	}
	for ; len(plain) > 0; plain = plain[row:] {
		id, until := bearer.ID(plain[:16]), int64(binary.BigEndian.Uint64(plain[16:]))
		if _, twice := p.entries[id]; twice || plain[row-1] > 1 || until < 0 {
			return fmt.Errorf("%w: a page of another form", ErrStore)
		}
		p.entries[id] = entry{until, binary.BigEndian.Uint64(plain[24:]), plain[row-1] == 1}
	}
	return nil
}

func (b Book) box() atrest.Box {
	return atrest.Box{Key: b.Seal, Domain: b.Domain, Label: "tokens"}
}

// place binds a page to its domain and endpoint.
func (b Book) place(endpoint string) []byte { return append(b.Domain[:], endpoint...) }
