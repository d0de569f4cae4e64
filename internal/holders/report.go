// SPDX-License-Identifier: Apache-2.0

package holders

import (
	"cmp"
	"slices"
	"time"

	"claviger/internal/wire"
)

// MaxLit is how many of those that aren't dark a Report names.
const MaxLit = 100

// Report says how far a revocation has come. Times are Unix milliseconds.
type Report struct {
	Epoch     wire.Epoch
	Of        []string // what is revoked (Order.Of)
	At        int64    // time of the record
	Now       int64
	Told      int64 // when the first statement that says it was signed, 0 if none was
	TakenBack int64 // when it was taken back, 0 if it stands; the rest is of that moment

	Holders      int // that are known to have held something of it
	Dark         int // of them, those that can use nothing of it any more
	Acknowledged int // of those, by their own word and not by the ends of leases

	// Forgotten is when the last lease ends that the table had no room for:
	// Holders is "at least". UnknownUntil is when the last lease ends that an
	// earlier run of the server, until UnknownBefore, gave out. 0 where there
	// is nothing of the kind.
	Forgotten, UnknownBefore, UnknownUntil int64

	// Of those that are dark, by nearest rank: how long half of them took, 99 in
	// a hundred, and the last.
	P50, P99, Last time.Duration

	Ends   int64 // when the last known holder goes dark by itself, or went dark
	Latest int64 // when everybody has, known or not

	Lit []Lit // the slowest first, at most MaxLit
}

// Lit is a holder that isn't dark.
type Lit struct {
	Holder
	Ends int64 // when it goes dark by itself
}

// Done reports whether nobody, known or not, can use any more what was revoked.
func (r *Report) Done() bool {
	return r.Now >= r.Latest || r.Dark == r.Holders && r.Now >= max(r.Forgotten, r.UnknownUntil)
}

// Report on the revocation of an epoch. ok is false if the table knows of none.
func (t *Table) Report(epoch wire.Epoch) (*Report, bool) {
	return t.report(func(r *revocation) bool { return r.epoch == epoch })
}

// ReportOf reports on the newest revocation of a thing (Order.Of).
func (t *Table) ReportOf(of string) (*Report, bool) {
	return t.report(func(r *revocation) bool { return r.is(of) })
}

func (t *Table) report(wanted func(*revocation) bool) (*Report, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UnixMilli()
	t.sweep(now)
	t.settle(now)
	for _, r := range slices.Backward(t.tracked) {
		if wanted(r) {
			return t.reportOn(r, now), true
		}
	}
	return nil, false
}

func (t *Table) reportOn(r *revocation, now int64) *Report {
	out := &Report{Epoch: r.epoch, At: r.at, Now: now, Told: r.told, TakenBack: r.takenBack, Latest: r.latest(), Ends: r.at, Holders: len(r.lit)}
	for _, o := range r.orders {
		out.Of = append(out.Of, o.Of)
	}
	if r.takenBack != 0 {
		now = r.takenBack
	}
	if t.lostUntil > r.at {
		out.Forgotten = t.lostUntil
	}
	if until := min(t.since, r.at) + int64(r.lease)*1000; t.since != 0 && until > r.at {
		out.UnknownBefore, out.UnknownUntil = min(t.since, r.at), until
	}
	var took []time.Duration
	for hd, b := range r.lit {
		dark := r.dark(b)
		out.Ends = max(out.Ends, dark)
		if dark > now {
			out.Lit = append(out.Lit, Lit{hd.Holder, dark})
			continue
		}
		took = append(took, time.Duration(dark-r.at)*time.Millisecond)
		if b.acked != 0 && b.acked == dark {
			out.Acknowledged++
		}
	}
	out.Dark = len(took)
	slices.Sort(took)
	out.P50, out.P99, out.Last = rank(took, 50), rank(took, 99), rank(took, 100)
	slices.SortFunc(out.Lit, func(a, b Lit) int {
		return cmp.Or(cmp.Compare(b.Ends, a.Ends), cmp.Compare(a.Client, b.Client), slices.Compare(a.Mailbox[:], b.Mailbox[:]))
	})
	out.Lit = out.Lit[:min(len(out.Lit), MaxLit)]
	return out
}

// rank is the nearest-rank percentile of sorted durations, 0 of none.
func rank(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}
