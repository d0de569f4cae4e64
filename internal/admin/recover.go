// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// ErrNoRecovery means that the domain has no recovery quorum, or that the
// profile's key is not of it.
var ErrNoRecovery = errors.New("not for the recovery quorum")

// ErrNotAnnounced means that a recovery was not announced with these keys, or
// that the people changed since.
var ErrNotAnnounced = errors.New("a recovery with these keys has not been announced")

// Recover makes the payload of a recovery that puts these authority keys in
// place of all others: for announcing it, and then for the recovery itself,
// which has to name the same keys. Their order doesn't matter.
func (s *Session) Recover(keys []members.Key, announce bool) (string, members.Keys, error) {
	m := s.state.Members
	switch own := s.p.Member().Hash(); {
	case m.Recovery.Threshold == 0:
		return "", members.Keys{}, fmt.Errorf("%w: this domain has none", ErrNoRecovery)
	case !slices.ContainsFunc(m.Recovery.Keys, func(k members.Key) bool { return k.Hash() == own }):
		return "", members.Keys{}, fmt.Errorf("%w: the key of %s is not one of its keys", ErrNoRecovery, s.p.Name)
	case uint64(len(keys)) < m.Keys.Threshold:
		return "", members.Keys{}, fmt.Errorf("a recovery leaves the threshold at %d, so it takes at least as many keys", m.Keys.Threshold)
	}
	p := members.Keys{Keys: slices.Clone(keys), Threshold: m.Keys.Threshold}
	slices.SortFunc(p.Keys, func(a, b members.Key) int { return strings.Compare(a.Name, b.Name) })
	if err := p.Check(); err != nil {
		return "", p, err
	}
	if announce {
		return authority.KindRecoverBegin, p, nil
	}
	due, ok := s.state.Announced.Due(wire.Marshal(p), m.Recovery)
	if !ok {
		return "", p, ErrNotAnnounced
	}
	if early := due.Add(-authority.PendingLife); s.o.Clock.Now().Before(early) {
		return "", p, fmt.Errorf("what is signed now would expire before the waiting time does; sign it from %s on", early.Format(time.RFC3339))
	}
	return members.KindRecover, p, nil
}
