// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"errors"
	"fmt"

	"claviger/internal/authority/atrest"
	"claviger/internal/wire"
)

// readHead returns nil without an error if there is no head file.
func (l *Log) readHead() (*atrest.Head, error) {
	seen, err := l.head.ReadHead()
	if errors.Is(err, atrest.ErrSeal) || errors.Is(err, wire.ErrMalformed) {
		return nil, fmt.Errorf("%w: head file: %w", ErrLog, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read head file: %w", err)
	}
	return seen, nil
}

// extendsHead holds that the log goes on from what this server acted on, or that
// people decided otherwise.
func (l *Log) extendsHead() error {
	if l.o.HeadPath == "" || l.o.Fresh {
		return nil
	}
	seen, err := l.readHead()
	if err != nil {
		return err
	}
	problem := l.state.extends(seen)
	if problem == nil || len(l.o.Accept) == 0 {
		return problem
	}
	if err := l.state.accepts(l.o.Accept); err != nil {
		return fmt.Errorf("%w; and the file given to accept it does not: %w", problem, err)
	}
	return nil
}

// extends reports nil if the log that s was folded from goes on from what was
// seen.
func (s *State) extends(seen *atrest.Head) error {
	if seen == nil {
		return fmt.Errorf("%w: the head file is missing, so nothing shows that the store is not an old copy", ErrLog)
	}
	at, ok := s.HeadAt(seen.Epoch.Position)
	if ok && at == seen.Head {
		return nil
	}
	// Security: a restore speaks for this log only if the members whom this server
	// knew are in its past; else keys that were taken from somebody could sign it.
	if s.restoredAfter(seen.Epoch) && s.Members.Contains(seen.Members) {
		return nil
	}
	if seen.Epoch.Compare(s.Epoch) > 0 {
		return fmt.Errorf("%w: the store is older than what this server has acted on: it ends at %s, the head file says %s", ErrLog, s.Epoch, seen.Epoch)
	}
	return fmt.Errorf("%w: the store holds another history than this server has acted on, from record %d or before", ErrLog, seen.Epoch.Position)
}

// restoredAfter reports whether a restore ended the generation of an epoch at or
// before its position: then a quorum said that the log goes on from elsewhere.
func (s *State) restoredAfter(e wire.Epoch) bool {
	return e.Generation > 0 && e.Generation <= uint64(len(s.restores)) && s.restores[e.Generation-1] <= e.Position
}

func (l *Log) remember() error {
	if l.o.HeadPath == "" {
		return nil
	}
	h := atrest.Head{Epoch: l.state.Epoch, Head: l.state.Head, Members: l.state.Members.Newest}
	if err := l.head.WriteHead(h); err != nil {
		return fmt.Errorf("write head file: %w", err)
	}
	return nil
}

// AcceptRollback is the body that a quorum signs (type string
// claviger/v1/accept-rollback) so that a server without a head file, or with one
// ahead of its store, may start on this head.
func AcceptRollback(domain wire.DomainID, epoch wire.Epoch, head wire.Hash) []byte {
	return wire.Marshal(atrest.Rollback{Type: TypeRollback, Domain: domain, Epoch: epoch, Head: head})
}

// TypeRollback is the type string of an [AcceptRollback] message.
const TypeRollback = atrest.TypeRollback

// accepts reports nil if a quorum has signed that the log may end at s.
func (s *State) accepts(signed []byte) error {
	parsed, err := wire.ParseSigned(TypeRollback, signed, atrest.MaxHead*8)
	if err != nil {
		return err
	}
	if err := s.Members.Quorum(parsed); err != nil {
		return err
	}
	var r atrest.Rollback
	if err := wire.Unmarshal(parsed.Payload, &r, atrest.MaxHead); err != nil {
		return err
	}
	if r.Type != TypeRollback || r.Domain != s.Members.Domain || r.Epoch != s.Epoch || r.Head != s.Head {
		return fmt.Errorf("%w: the accepted head is another one", ErrRefused)
	}
	return nil
}
