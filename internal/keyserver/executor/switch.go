// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"errors"
	"fmt"
	"slices"

	"claviger/internal/authority"
	"claviger/internal/hierarchy"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// ErrForged means that the log holds an erasure switch that does not follow from
// what people ordered. It is not carried out.
var ErrForged = errors.New("erasure switch without orders")

// LoggedSwitch is the newest erasure switch of the log, nil without one. A
// switch destroys keys for good, so it is believed only where it says what the
// record around it, which people's orders stand behind, says.
func LoggedSwitch(s *authority.State) (*hierarchy.Switch, error) {
	if s.Switch == nil {
		return nil, nil
	}
	var sw hierarchy.Switch
	if err := wire.Unmarshal(s.Switch, &sw, wire.MaxBody); err != nil {
		return nil, fmt.Errorf("erasure switch in the log: %w", err)
	}
	if sw.To.Number != s.Erasure {
		return nil, fmt.Errorf("%w: the log is at erasure epoch %d, its switch leads to %d", ErrForged, s.Erasure, sw.To.Number)
	}
	kept := map[[16]byte]bool{}
	for _, seg := range sw.Segments {
		kept[seg.New] = true
	}
	delete(kept, [16]byte{})
	ordered := map[hierarchy.VersionRef]bool{}
	for k := range s.ScanKeys() {
		for i := range k.Versions {
			v := &k.Versions[i]
			switch {
			case v.State == wire.StateDestroyed && v.ErasedIn == s.Erasure:
				ordered[VersionOf(k, v).Ref()] = true
			case v.State != wire.StateDestroyed && v.BornIn < s.Erasure && !kept[v.Segment]:
				return nil, fmt.Errorf("%w: the erasure switch gives up %s version %d, which nobody ordered destroyed", ErrForged, k.Name, v.Number)
			}
		}
	}
	for _, ref := range sw.Destroyed {
		if !ordered[ref] {
			return nil, fmt.Errorf("%w: the erasure switch destroys a version that nobody ordered destroyed", ErrForged)
		}
	}
	granted := func(m members.Member) bool {
		return m.Status == members.StatusActive && slices.ContainsFunc(sw.Grants, func(g hierarchy.Grant) bool { return g.Server == m.ID() })
	}
	if !slices.ContainsFunc(s.Members.Servers, granted) {
		return nil, fmt.Errorf("%w: no server that may serve got the key of erasure epoch %d", ErrForged, s.Erasure)
	}
	return &sw, nil
}

// VersionOf is a version as the hierarchy takes it.
func VersionOf(k *authority.Key, v *authority.Version) hierarchy.Version {
	generation := v.RootGeneration
	if v.Stored {
		generation = 0
	}
	return hierarchy.Version{
		KeyID: k.ID, Number: v.Number, Algorithm: k.Algorithm, Stored: v.Stored, RootGeneration: generation,
		Segment: v.Segment, ErasureEpoch: v.ErasureEpoch, VC: v.VC,
	}
}
