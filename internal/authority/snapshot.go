// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"fmt"
	"iter"

	"claviger/internal/authority/ahead"
	"claviger/internal/authority/keyring"
	"claviger/internal/authority/revoked"
	"claviger/internal/authority/secretring"
	"claviger/internal/authority/snapshot"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// keysPart is how many bytes of packed keys stand in one part.
const keysPart = 512 << 10

// sections are the fields of a state and how each goes through a snapshot. The
// signer table is the program's, and does not.
func (s *State) sections(domain wire.DomainID) []snapshot.Section {
	return []snapshot.Section{
		snapshot.Packed("members", func() iter.Seq[[]byte] { return snapshot.One(s.Members.Chain) },
			func(data []byte) (*members.State, error) {
				var chain [][]byte
				if err := wire.Unmarshal(data, &chain, snapshot.MaxPart); err != nil {
					return nil, err
				}
				return members.Verify(chain, domain)
			}, func(m *members.State) error { s.Members = m; return nil }),
		snapshot.Packed("keys", func() iter.Seq[[]byte] { return s.keys.Rows().Parts(keysPart) }, keyring.Split, s.keys.Add),
		secretring.Section(&s.secrets), snapshot.Value("secrets floor", &s.secrets.Floor),
		snapshot.Value("epoch", &s.Epoch), snapshot.Value("head", &s.Head), snapshot.Value("time", &s.Time),
		snapshot.Value("policy", &s.Policy), snapshot.List("voids", &s.Voids), snapshot.Value("erasure", &s.Erasure),
		snapshot.Value("switch", &s.Switch), snapshot.Value("domain revoked", &s.Revoked),
		snapshot.Map("announced", &s.Announced), snapshot.Map("clients", &s.clients), snapshot.Map("invites", &s.invites.Open),
		snapshot.Map("invite rules", &s.invites.Rules), snapshot.Map("endpoints", &s.endpoints.Named), snapshot.List("backups", &s.backups), snapshot.Map("anchors", &s.anchors),
		snapshot.Map("receipts", &s.receipts), snapshot.Map("confirmed", &s.confirmed),
		snapshot.List("revoked", (*[]revoked.Entry)(&s.revoked)), snapshot.Map("applied", &s.applied),
		snapshot.Value("forget at", &s.forgetAt), snapshot.Map("objects", &s.objects), snapshot.Hashes("heads", &s.heads),
		snapshot.List("restores", &s.restores), snapshot.Value("members at", &s.membersAt), snapshot.Map("joined in", &s.joinedIn),
	}
}

// restore takes the state from the snapshot, if there is one of this log.
func (l *Log) restore(ctx context.Context) {
	if l.o.HeadPath == "" || l.o.Fresh {
		return
	}
	state := newState()
	h, ok := l.keeper.Load(ctx, l.o.Store, func(h snapshot.Header) []snapshot.Section {
		state.heads = make([]wire.Hash, 0, h.Epoch.Position+h.Epoch.Position/16)
		return state.sections(l.o.Domain)
	}, func(h snapshot.Header) error { return l.fits(state, h) })
	if !ok {
		return
	}
	keys := ahead.KeysOf(state.Members)
	l.keys.Store(&keys)
	l.state, l.trail = state, h.Trail
}

// fits holds that a state is whole, and that a replay would have come as far.
func (l *Log) fits(s *State, h snapshot.Header) error {
	last, ok := s.HeadAt(uint64(len(s.heads)))
	if !ok || s.Members == nil || s.Policy == nil || s.Epoch != h.Epoch || s.Head != h.Head || last != s.Head || uint64(len(s.heads)) != s.Epoch.Position {
		return fmt.Errorf("%w: it is of another record than it says", snapshot.ErrUnusable)
	}
	return l.notAhead(wire.Link{Epoch: s.Epoch, Time: s.Time})
}

// capture takes what a snapshot holds.
func (l *Log) capture() (snapshot.Header, iter.Seq[[]byte]) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	h := snapshot.Header{Epoch: l.state.Epoch, Head: l.state.Head, Trail: l.trail}
	return h, snapshot.Capture(l.state.sections(l.o.Domain))
}

// saveLater has a snapshot written if it is time. l.mu is held.
func (l *Log) saveLater() {
	if l.o.HeadPath != "" {
		l.keeper.Later(l.state.Epoch.Position, l.capture)
	}
}

// Close waits for a snapshot that is being written, and writes one if there is
// anything new, so that the next start is quick. After it the local seal may be
// wiped. It ends nothing else; a nil Log has nothing to close.
func (l *Log) Close() {
	if l == nil {
		return
	}
	if l.keeper.End(); l.o.HeadPath == "" || l.Err() != nil {
		return
	}
	var position uint64
	l.View(func(s *State) { position = s.Epoch.Position })
	l.keeper.Save(position, l.capture)
}
