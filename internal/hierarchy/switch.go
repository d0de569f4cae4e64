// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"fmt"
)

// Limits of a switch.
const (
	maxServers  = 64
	maxSegments = 1 << 14 // 16 million versions
	maxGrant    = 4 << 10 // a sealed EEK takes about 1,300 bytes
)

// Switch ends one erasure epoch and begins the next. The server that planned it
// appends it to the log; from that entry on, only what it lists exists. It holds
// no secret in the clear.
type Switch struct {
	_         struct{} `cbor:",toarray"`
	From      EpochID
	To        EpochID
	Commit    [32]byte        // of EEK(To)
	Destroyed []VersionRef    // what the switch is for
	Segments  []SegmentSwitch // every segment that holds a recorded version
	Grants    []Grant         // EEK(To) for each live server
}

// SegmentSwitch is what becomes of a segment: kept under a rewrapped key (New
// equals Old), replaced by a new one for its survivors, or given up because
// nothing of it survives (New is zero).
type SegmentSwitch struct {
	_   struct{} `cbor:",toarray"`
	Old [16]byte
	New [16]byte
}

// Grant carries an EEK to one server: sealed under the root-derived slot seal,
// and that to the server's epoch key.
type Grant struct {
	_      struct{} `cbor:",toarray"`
	Epoch  EpochID
	Server [16]byte
	Sealed []byte
}

// Check reports whether the parts of a switch fit together: ErrInvalid.
func (s *Switch) Check() error {
	if s.To.Number != s.From.Number+1 || s.To.ID == [16]byte{} || (s.From.Number == 0) != (s.From.ID == [16]byte{}) {
		return fmt.Errorf("%w switch: its epochs don't follow one another", ErrInvalid)
	}
	if len(s.Segments) > maxSegments || len(s.Grants) == 0 || len(s.Grants) > maxServers {
		return fmt.Errorf("%w switch: number of segments or servers", ErrInvalid)
	}
	segments := make(map[[16]byte]bool)
	for _, seg := range s.Segments {
		if seg.Old == [16]byte{} || segments[seg.Old] || (seg.New != seg.Old && segments[seg.New]) {
			return fmt.Errorf("%w switch: a segment is named twice or not at all", ErrInvalid)
		}
		segments[seg.Old] = true
		if seg.New != [16]byte{} {
			segments[seg.New] = true
		}
	}
	servers := make(map[[16]byte]bool)
	for _, g := range s.Grants {
		if g.Epoch != s.To || servers[g.Server] || len(g.Sealed) > maxGrant {
			return fmt.Errorf("%w switch: its grants", ErrInvalid)
		}
		servers[g.Server] = true
	}
	return nil
}

// Apply changes versions, as recorded before the switch, into what they are
// after it: destroyed ones have no segment, survivors lie where the switch put
// them. A version of an earlier erasure epoch in a segment that the switch
// doesn't list is left alone; it was erased before.
func (s *Switch) Apply(versions []Version) {
	destroyed := make(map[VersionRef]bool, len(s.Destroyed))
	for _, ref := range s.Destroyed {
		destroyed[ref] = true
	}
	moved := make(map[[16]byte][16]byte, len(s.Segments))
	for _, seg := range s.Segments {
		moved[seg.Old] = seg.New
	}
	for i := range versions {
		v := &versions[i]
		segment, ok := moved[v.Segment]
		switch {
		case destroyed[v.Ref()]:
			v.Segment = [16]byte{}
		case ok:
			v.Segment, v.ErasureEpoch = segment, s.To.Number
		}
	}
}

// Covers reports whether a version that was recorded after the plan was made,
// and before the switch, survives it. If not, the plan must be made anew.
func (s *Switch) Covers(v Version) bool {
	for _, seg := range s.Segments {
		if seg.Old == v.Segment {
			return seg.New == seg.Old
		}
	}
	return false
}

// grant finds the grant of a server.
func (s *Switch) grant(server [16]byte) (Grant, bool) {
	for _, g := range s.Grants {
		if g.Server == server {
			return g, true
		}
	}
	return Grant{}, false
}

// Receipt says that a server holds no erasure-epoch key older than Epoch. The
// server signs it and appends it to the log.
type Receipt struct {
	_             struct{} `cbor:",toarray"`
	Server        [16]byte
	Epoch         EpochID
	Waiting       bool   // it has no EEK of Epoch either and needs a grant
	NextPublicKey []byte // public epoch key of Epoch, 1216 bytes
}

// Receipt is what this server can say of its erasures at any time. It is worth
// recording once per epoch.
func (h *Hierarchy) Receipt() Receipt {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Receipt{Server: h.o.Server, Epoch: h.cur.at, Waiting: h.cur.eek == nil, NextPublicKey: h.cur.public}
}
