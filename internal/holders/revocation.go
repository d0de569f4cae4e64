// SPDX-License-Identifier: Apache-2.0

package holders

import (
	"slices"
	"time"

	"claviger/internal/wire"
)

const (
	// keepReports is how long a revocation can be reported when it is over.
	keepReports = 24 * time.Hour
	// maxTracked bounds the revocations that are reported, and maxBeams the
	// holders that they name together; the oldest go first.
	maxTracked = 1024
	maxBeams   = 1 << 18
)

// Order is a revocation as the authority log has it.
type Order struct {
	Of    string            // what is revoked, in the words of package authority
	ID    wire.RevocationID // under which holders know it
	Epoch wire.Epoch        // of its record
	At    int64             // time of its record, Unix milliseconds
	Lease uint64            // seconds: the longest lease that may have been out then
}

// State is what the table has to know of the authority log.
type State struct {
	Epoch  wire.Epoch
	Orders []Order // in force, or over only because every lease has ended

	// Alone says that no other server vouches for this domain. Otherwise one that
	// hasn't heard may have signed words at epochs before the revocation, nobody
	// here knows until when, and only the ends of leases count.
	Alone bool
}

// revocation is what one record revoked: most often one thing, and of a key that
// is to be destroyed every version.
type revocation struct {
	epoch     wire.Epoch
	at        int64
	lease     uint64
	orders    []Order
	word      int64 // newest word signed before its epoch
	alone     bool
	told      int64 // when the first word that says it was signed; 0 if none was
	takenBack int64 // Unix milliseconds, 0 if it stands
	lit       map[*holder]*beam
}

// beam is what one holder may hold of what is revoked.
type beam struct {
	spans    spans
	word     int64 // of the holder's own grants
	acked    int64 // when it says that it dropped everything, 0 if it hasn't
	observed bool
}

// means reports whether it revokes what was released under these ids.
func (r *revocation) means(ids []wire.RevocationID) bool {
	return slices.ContainsFunc(r.orders, func(o Order) bool {
		return o.ID == wire.RevokeEverything || slices.Contains(ids, o.ID)
	})
}

// standing are the orders that stand, by what they revoke and by record.
type standing struct {
	of    map[string]bool
	epoch map[wire.Epoch]bool
}

func standingOf(orders []Order) standing {
	s := standing{map[string]bool{}, map[wire.Epoch]bool{}}
	for _, o := range orders {
		s.of[o.Of], s.epoch[o.Epoch] = true, true
	}
	return s
}

// hold reports whether any of a revocation is still in force, or was ordered
// anew.
func (s standing) hold(r *revocation) bool {
	return s.epoch[r.epoch] || slices.ContainsFunc(r.orders, func(o Order) bool { return s.of[o.Of] })
}

func (r *revocation) is(of string) bool {
	return slices.ContainsFunc(r.orders, func(o Order) bool { return o.Of == of })
}

// latest is when every lease from before has ended, known here or not.
func (r *revocation) latest() int64 { return r.at + int64(r.lease)*1000 }

// over reports whether there is nothing left to learn.
func (r *revocation) over(now int64) bool { return r.takenBack != 0 || now >= r.latest() }

// ends is when the beam ends by itself at the latest: see the package's guide.
func (r *revocation) ends(b *beam) int64 {
	var last int64
	for _, s := range b.spans {
		end := s.end
		if r.alone && s.staleness > 0 {
			end = min(end, max(r.word, b.word)+int64(s.staleness)*1000)
		}
		last = max(last, end)
	}
	return max(last, r.at)
}

// dark is when the holder went or goes dark.
func (r *revocation) dark(b *beam) int64 {
	end := r.ends(b)
	if b.acked != 0 {
		return min(b.acked, end)
	}
	return end
}

// Advance takes the table on to a later epoch; an earlier one changes nothing.
// Everything recorded or stated so far belongs to epochs before.
func (t *Table) Advance(s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started && s.Epoch.Compare(t.epoch) <= 0 {
		return
	}
	now := t.now().UnixMilli()
	t.sweep(now)
	t.settle(now)
	stand := standingOf(s.Orders)
	for _, r := range t.tracked {
		if !r.over(now) && !stand.hold(r) {
			r.takenBack = now
		}
	}
	for _, r := range byRecord(s.Orders) {
		if !t.started || r.epoch.Compare(t.epoch) > 0 {
			r.word, r.alone = t.word, s.Alone
			t.track(r)
		}
	}
	t.epoch, t.started = s.Epoch, true
	t.tidy(now)
}

// Behind reports whether the table has to be told of this epoch.
func (t *Table) Behind(e wire.Epoch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.started || e.Compare(t.epoch) > 0
}

// byRecord gathers orders by their record, in the log's order.
func byRecord(orders []Order) []*revocation {
	var out []*revocation
	for _, o := range orders {
		at, known := slices.BinarySearchFunc(out, o.Epoch, func(r *revocation, e wire.Epoch) int { return r.epoch.Compare(e) })
		if !known {
			out = slices.Insert(out, at, &revocation{epoch: o.Epoch, at: o.At, lit: map[*holder]*beam{}})
		}
		out[at].orders = append(out[at].orders, o)
		out[at].lease = max(out[at].lease, o.Lease)
	}
	return out
}

// track begins to measure a revocation that is later than the others.
func (t *Table) track(r *revocation) {
	t.tracked = append(t.tracked, r)
	for _, l := range t.leases {
		if l.epoch.Compare(r.epoch) < 0 && l.end > r.at && r.means(l.ids) {
			for _, sp := range l.spans {
				if sp.end > r.at {
					t.light(r, l.holder, sp)
				}
			}
		}
	}
}

// light notes that a holder has something of what is revoked.
func (t *Table) light(r *revocation, hd *holder, s span) {
	b := r.lit[hd]
	if b == nil {
		b = &beam{word: hd.word}
		r.lit[hd] = b
		hd.beams++
		t.beams++
		t.take(hd, beamBytes)
	}
	b.spans = b.spans.with(s)
}

// tidy forgets revocations that nobody will ask about, or that are too many.
func (t *Table) tidy(now int64) {
	for _, r := range slices.Clone(t.tracked) {
		if r.over(now) && now-max(r.latest(), r.takenBack) > keepReports.Milliseconds() {
			t.forget(r)
		}
	}
	for len(t.tracked) > 1 && (len(t.tracked) > maxTracked || t.beams > maxBeams) {
		t.forget(t.tracked[0])
	}
}

func (t *Table) forget(r *revocation) {
	t.tracked = slices.DeleteFunc(t.tracked, func(o *revocation) bool { return o == r })
	for hd := range r.lit {
		hd.beams--
		t.beams--
		t.take(hd, -beamBytes)
		t.release(hd)
	}
}

// Stated notes a signed statement, which anybody may have got. The table must have
// been told of its epoch before.
func (t *Table) Stated(epoch wire.Epoch, issued int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered(epoch, issued)
	for _, r := range t.tracked {
		if r.told == 0 && epoch.Compare(r.epoch) >= 0 {
			r.told = max(issued, r.at)
		}
	}
}

// Untold reports whether a revocation stands that no statement has told of.
func (t *Table) Untold() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.tracked, func(r *revocation) bool { return r.told == 0 && r.takenBack == 0 })
}

// Answered notes another signed word that keeps holders going and says nothing of
// what is revoked: a certificate.
func (t *Table) Answered(epoch wire.Epoch, issued int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered(epoch, issued)
}

func (t *Table) answered(epoch wire.Epoch, issued int64) {
	t.word = max(t.word, issued)
	for _, r := range t.tracked {
		if epoch.Compare(r.epoch) < 0 {
			r.word = max(r.word, issued)
		}
	}
}

// Acked takes the word of whoever owns the mailbox that everything which was
// revoked up to an epoch was dropped at a time (Unix milliseconds). The time is
// its own claim: it counts as no earlier than the revocation and no later than
// now. known is false, and nothing happens, if no such mailbox is known.
func (t *Table) Acked(mailbox wire.Hash, epoch wire.Epoch, at int64) (known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UnixMilli()
	if mailbox.IsZero() || len(t.mailboxes[mailbox]) == 0 {
		return false
	}
	// Security: nobody can have obeyed what the log doesn't have yet.
	if epoch.Compare(t.epoch) > 0 {
		return false
	}
	for _, hd := range slices.Clone(t.mailboxes[mailbox]) {
		if epoch.Compare(hd.acked) > 0 {
			hd.acked = epoch
		}
		t.ack(hd, epoch, at, now)
	}
	return true
}

// Gone takes the word of whoever owns the mailbox that its holder has ended at a time
// (Unix milliseconds) and holds nothing any more, of whatever epoch. The rest is as
// with Acked.
func (t *Table) Gone(mailbox wire.Hash, at int64) (known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UnixMilli()
	if mailbox.IsZero() || len(t.mailboxes[mailbox]) == 0 {
		return false
	}
	for _, hd := range slices.Clone(t.mailboxes[mailbox]) {
		for _, r := range t.tracked {
			t.dim(r, hd, at, now)
		}
		for _, l := range hd.leases {
			t.drop(l)
		}
	}
	return true
}

// dim takes a holder's word that it went dark for a revocation.
func (t *Table) dim(r *revocation, hd *holder, at, now int64) {
	if b := r.lit[hd]; b != nil && b.acked == 0 && r.takenBack == 0 {
		// Security: the time is the holder's claim.
		b.acked = min(max(at, r.at), now)
		t.settleBeam(r, b, now)
	}
}

func (t *Table) ack(hd *holder, epoch wire.Epoch, at, now int64) {
	for _, r := range t.tracked {
		if r.epoch.Compare(epoch) > 0 || r.takenBack != 0 {
			continue
		}
		t.dim(r, hd, at, now)
		for _, l := range hd.leases {
			if l.epoch.Compare(r.epoch) < 0 && r.means(l.ids) {
				t.drop(l)
			}
		}
	}
}

// settle observes who has gone dark since the last time.
func (t *Table) settle(now int64) {
	for _, r := range t.tracked {
		for _, b := range r.lit {
			t.settleBeam(r, b, now)
		}
	}
}

func (t *Table) settleBeam(r *revocation, b *beam, now int64) {
	if r.takenBack != 0 || b.observed {
		return
	}
	if dark := r.dark(b); dark <= now {
		b.observed = true
		t.observe(time.Duration(dark-r.at) * time.Millisecond)
	}
}

// Sweep forgets what has ended and observes who went dark by that. It is to be
// called every few seconds, however little is asked.
func (t *Table) Sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UnixMilli()
	t.sweep(now)
	t.settle(now)
	t.tidy(now)
}
