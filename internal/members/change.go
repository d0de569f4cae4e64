// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"fmt"
	"slices"

	"claviger/internal/wire"
)

// change applies a link whose signatures are verified.
func (s *State) change(body *wire.Body) error {
	switch body.Kind {
	case KindKeys:
		return s.setKeys(body.Payload)
	case KindRecover:
		return s.recover(body.Payload)
	case KindRecovery:
		return s.setRecovery(body.Payload)
	case KindJoin:
		return s.join(body.Payload)
	case KindFence:
		return s.setStatus(body.Payload, StatusActive, StatusFenced)
	case KindUnfence:
		return s.setStatus(body.Payload, StatusFenced, StatusActive)
	case KindLeave:
		return s.leave(body.Payload)
	case KindRestore:
		return s.restore(body.Payload)
	case KindAnchors:
		return s.setAnchors(body.Payload)
	}
	return fmt.Errorf("%w: unknown kind %q", ErrChain, body.Kind)
}

func decode(payload []byte, v any) error {
	if err := wire.Unmarshal(payload, v, wire.MaxMembers); err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	return nil
}

func (s *State) setKeys(payload []byte) error {
	var keys Keys
	if err := decode(payload, &keys); err != nil {
		return err
	}
	s.Keys = keys
	if err := keys.Check(); err != nil {
		return err
	}
	return s.apart(keys.Keys)
}

// recover replaces keys only: how many make a quorum stays as the quorum set it.
func (s *State) recover(payload []byte) error {
	threshold := s.Keys.Threshold
	if err := s.setKeys(payload); err != nil {
		return err
	}
	if s.Keys.Threshold != threshold {
		return fmt.Errorf("%w: a recovery replaces keys and leaves the threshold at %d", ErrChain, threshold)
	}
	return nil
}

// apart holds that no person's key is a server's: a machine never counts towards
// a quorum.
func (s *State) apart(keys []Key) error {
	for _, k := range keys {
		if slices.ContainsFunc(s.Servers, func(m Member) bool { return bytes.Equal(m.Key, k.Public) }) {
			return fmt.Errorf("%w: the key of %s is a server's", ErrChain, k.Name)
		}
	}
	return nil
}

func (s *State) setRecovery(payload []byte) error {
	var r Recovery
	if err := decode(payload, &r); err != nil {
		return err
	}
	s.Recovery = r
	if err := r.Check(); err != nil {
		return err
	}
	return s.apart(r.Keys)
}

func (s *State) setAnchors(payload []byte) error {
	var a Anchors
	if err := decode(payload, &a); err != nil {
		return err
	}
	s.Anchors = a.Anchors
	return checkAnchors(a.Anchors, s.Genesis.Name)
}

func (s *State) join(payload []byte) error {
	var server Server
	if err := decode(payload, &server); err != nil {
		return err
	}
	if err := server.check(); err != nil {
		return err
	}
	live := 0
	for _, m := range s.Servers {
		// A key that ever stood for a server never stands for another.
		if m.ID() == server.ID() || m.Name == server.Name && m.Status != StatusLeft {
			return fmt.Errorf("%w: server %s is a member already", ErrChain, m.Name)
		}
		if m.Status != StatusLeft {
			live++
		}
	}
	if live >= MaxServers {
		return fmt.Errorf("%w: more than %d servers", ErrChain, MaxServers)
	}
	s.Servers = append(s.Servers, Member{server, StatusActive})
	return s.apart(slices.Concat(s.Keys.Keys, s.Recovery.Keys))
}

func (s *State) setStatus(payload []byte, from, to Status) error {
	var f Fence
	if err := decode(payload, &f); err != nil {
		return err
	}
	if len(f.Reason) > wire.MaxReason {
		return fmt.Errorf("%w: a reason of %d bytes", ErrChain, len(f.Reason))
	}
	for i, m := range s.Servers {
		if m.ID() == f.Server && m.Status == from {
			s.Servers[i].Status = to
			return nil
		}
	}
	return fmt.Errorf("%w: no server %s that is %s", ErrChain, f.Server, from)
}

func (s *State) leave(payload []byte) error {
	if err := s.setStatus(payload, StatusActive, StatusLeft); err == nil {
		return nil
	}
	return s.setStatus(payload, StatusFenced, StatusLeft)
}

func (s *State) restore(payload []byte) error {
	var r Restore
	if err := decode(payload, &r); err != nil {
		return err
	}
	if len(r.Reason) > wire.MaxReason {
		return fmt.Errorf("%w: a reason of %d bytes", ErrChain, len(r.Reason))
	}
	if r.Generation != s.Generation+1 {
		return fmt.Errorf("%w: a restore to generation %d follows %d", ErrChain, r.Generation, s.Generation)
	}
	s.Generation = r.Generation
	return nil
}
