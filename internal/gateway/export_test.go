// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"maps"
	"slices"
)

// Doors are the names of those that are kept.
func (s *Server) Doors() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.doors))
}
