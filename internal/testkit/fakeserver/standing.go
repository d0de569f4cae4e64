// SPDX-License-Identifier: Apache-2.0

package fakeserver

import "claviger/internal/wire"

// Standing is a standing request as it came. Nothing is sent for it but by Ahead.
type Standing struct {
	*wire.Request
	Hash wire.Hash // SealedHash
}

// Standing are the standing requests that were read so far.
func (s *Server) Standing() []Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Standing(nil), s.standing...)
}

// Ahead makes a release of this moment for a standing request, sealed to the one-time
// key of that number. Any server of the domain can.
func (s *Server) Ahead(r Standing, key int) []byte {
	s.domain.tb.Helper()
	ahead := *r.Request
	ahead.HPKE = r.Standing[key]
	out, err := s.sealed(&ahead, r.Hash)
	s.domain.must(err)
	return out
}
