// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"maps"
	"slices"
)

// SetPublic changes the origin under which others reach the port.
func (s *Server) SetPublic(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.public = origin
}

// Doors are the names of those that are kept.
func (s *Server) Doors() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.doors))
}
