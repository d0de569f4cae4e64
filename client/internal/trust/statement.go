// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"slices"
	"time"

	"claviger/internal/wire"
)

// skew is how far ahead of the expected time something may be signed.
const skew = 30 * time.Second

// News is what a believed statement says is revoked.
type News struct {
	epoch   wire.Epoch
	head    wire.Hash
	revoked map[wire.RevocationID]bool
}

// Revokes reports whether something released at the given epoch under these ids
// is revoked. What was permitted at an epoch can only be revoked by a later one.
func (n *News) Revokes(ids []wire.RevocationID, released wire.Epoch) bool {
	if n == nil || n.epoch.Compare(released) <= 0 {
		return false
	}
	return n.revoked[wire.RevokeEverything] || slices.ContainsFunc(ids, func(id wire.RevocationID) bool { return n.revoked[id] })
}

func newNews(st *wire.Statement) *News {
	n := &News{epoch: st.Epoch, head: st.Head, revoked: make(map[wire.RevocationID]bool, len(st.Revoked))}
	for _, id := range st.Revoked {
		n.revoked[id] = true
	}
	return n
}

// News is what the newest believed statement revokes; nil, which revokes nothing,
// before the first.
func (v *View) News() *News {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.news
}

// Told is how old, at most, the newest statement of the newest epoch is that was
// believed; ok is false if none was.
func (v *View) Told() (age time.Duration, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told.epoch.Position == 0 {
		return 0, false
	}
	return v.age(v.told), true
}

// Statement believes a signed statement, or says why not. It needs an answered
// request first: ErrStale without. With ErrMembers, introduce the server and call
// again.
func (v *View) Statement(signed []byte) error {
	claim, err := wire.PeekStatement(signed)
	if err != nil {
		return fmt.Errorf("%w: statement: %w", ErrIntegrity, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	key, err := v.state.ServerKey(claim.Server)
	if err != nil {
		if !v.state.Contains(claim.Members) {
			return ErrMembers
		}
		return fmt.Errorf("%w: statement: %w", ErrIntegrity, err)
	}
	st, err := wire.ParseStatement(signed, key)
	if err != nil {
		return fmt.Errorf("%w: statement: %w", ErrIntegrity, err)
	}
	if st.Domain != v.domain {
		return integrity("statement of another domain")
	}
	// Security: the moment before the age. What follows writes the mark and syncs it;
	// a disk that takes its time must not make the word younger (T-36).
	at := v.moment()
	age, err := v.signedAgo(st.Server, st.Issued)
	if err != nil {
		return err
	}
	w := word{st.Epoch, st.Head, st.Members, signed, wire.TypeStatement}
	if err := v.checkWord(w, v.mark.Epoch); err != nil {
		return err
	}
	if err := v.checkpoint(st, w); err != nil {
		return err
	}
	v.told = v.fresher(v.told, heard{st.Epoch, st.Head, at, age})
	// Of one epoch, a later statement may list less: what has run out by then.
	if v.news == nil || v.news.epoch.Compare(st.Epoch) <= 0 {
		v.news = newNews(st)
	}
	return nil
}

// checkpoint holds a statement's audit checkpoint against the server's last one
// and keeps both it and the epoch.
func (v *View) checkpoint(st *wire.Statement, w word) error {
	next := Checkpoint{Server: st.Server, Issued: st.Issued, Log: st.Checkpoint.Log, Size: st.Checkpoint.Size, Root: st.Checkpoint.Root}
	m := v.mark
	m.Checkpoints = slices.Clone(m.Checkpoints)
	at := slices.IndexFunc(m.Checkpoints, func(c Checkpoint) bool { return c.Server == st.Server })
	switch {
	case at < 0:
		m.Checkpoints = append(m.Checkpoints, next)
	case m.Checkpoints[at].Issued >= st.Issued:
		return v.advance(w) // not newer than the one at hand
	default:
		if err := goesOn(m.Checkpoints[at], next); err != nil {
			return err
		}
		m.Checkpoints[at] = next
	}
	if w.epoch.Compare(m.Epoch) > 0 {
		m.Epoch, m.Head, m.Witness = w.epoch, w.head, w.signed
	}
	m.Type, m.Domain = TypeMark, v.domain
	return v.keep(m, w)
}

// later returns the later of two checkpoints of one server, which must go on from
// the other.
func later(a, b Checkpoint) (Checkpoint, error) {
	if a.Issued >= b.Issued {
		a, b = b, a
	}
	if a.Issued == b.Issued {
		return a, nil
	}
	return b, goesOn(a, b)
}

// goesOn holds that an audit log has not shrunk or changed.
func goesOn(last, next Checkpoint) error {
	switch {
	case next.Log < last.Log, next.Log == last.Log && next.Size < last.Size:
		return fmt.Errorf("%w: the server's audit log has become shorter", ErrRollback)
	case next.Log == last.Log && next.Size == last.Size && next.Root != last.Root:
		return integrity("the server's audit log has changed")
	}
	return nil
}
