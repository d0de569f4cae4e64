// SPDX-License-Identifier: Apache-2.0

package holding

import (
	"sort"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/holders"
	"claviger/internal/wire"
)

const (
	// maxRecalled bounds the leaves that a start reads to find who holds leases.
	maxRecalled = 1 << 18
	// recallSlack is how far the times of neighbouring leaves may be out of order.
	recallSlack = time.Minute
)

// recalled is a lease of an earlier run. Its holder can't acknowledge: the audit
// log names the client and not the mailbox, nor the staleness bound.
type recalled struct {
	client string
	epoch  wire.Epoch
	lease  holders.Lease
}

// recall reads from the audit log what was given out before and may still be in
// use. Of what was given out before since (Unix milliseconds; 0: nothing) it says
// nothing.
func (h *Holding) recall(most uint64) (out []recalled, since int64, err error) {
	now := h.o.Clock.Now().UnixMilli()
	if h.o.Audit.Opened().GivenUp != "" {
		return nil, now, nil
	}
	var longest uint64
	h.o.Log.View(func(s *authority.State) { longest = s.LongestLease(now) })
	cutoff := now - int64(longest)*1000 - recallSlack.Milliseconds()
	number, size := h.o.Audit.Size()
	from, err := h.firstSince(number, size, cutoff)
	if err != nil {
		return nil, now, err
	}
	if size-from > most {
		from = size - most
		if since, err = h.leafTime(audit.Position{Log: number, Index: from}); err != nil {
			return nil, now, err
		}
	}
	for {
		n, first, err := h.recallFrom(audit.Position{Log: number, Index: from}, most, &out)
		switch {
		case err != nil:
			return nil, now, err
		case since != 0 || from > 0 || number == 1 || n > 0 && first < cutoff:
			return out, since, nil
		case n >= most:
			return out, now, nil // a closed log is read from its start, and that was too little of it
		}
		number--
	}
}

// recallFrom reads leaves of one log, and says how many and the first one's time.
func (h *Holding) recallFrom(at audit.Position, most uint64, out *[]recalled) (n uint64, first int64, err error) {
	for entry, err := range h.o.Audit.Leaves(at, most) {
		if err != nil {
			return n, first, err
		}
		if n++; n == 1 {
			first = entry.Leaf.Time
		}
		if l, ok := h.recalledLease(entry.Leaf); ok {
			*out = append(*out, l)
		}
	}
	return n, first, nil
}

// firstSince finds the first leaf of a log at or after a time.
func (h *Holding) firstSince(number, size uint64, cutoff int64) (uint64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		at, err := h.leafTime(audit.Position{Log: number, Index: uint64(i)})
		if err != nil {
			failed = err
		}
		return at >= cutoff
	})
	return uint64(n), failed
}

func (h *Holding) leafTime(at audit.Position) (t int64, err error) {
	for entry, err := range h.o.Audit.Leaves(at, 1) {
		if err != nil {
			return 0, err
		}
		t = entry.Leaf.Time
	}
	return t, nil
}

func (h *Holding) recalledLease(l *audit.Leaf) (recalled, bool) {
	if l.Kind != audit.Decision || !l.Allowed() || l.Lease == 0 {
		return recalled{}, false
	}
	r := recalled{l.Caller, l.Epoch, holders.Lease{Key: l.KeyID, Version: l.Version, Issued: l.Time, Lease: uint32(l.Lease)}}
	h.o.Log.View(func(s *authority.State) {
		if k := s.Key(l.KeyID); k != nil && k.Version(l.Version) != nil {
			r.lease.Revocation = []wire.RevocationID{k.Revocation, k.Version(l.Version).Revocation, h.o.Name(l.Caller)}
		}
	})
	return r, r.lease.Revocation != nil
}
