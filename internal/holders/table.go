// SPDX-License-Identifier: Apache-2.0

package holders

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"claviger/internal/wire"
)

// DefaultLimit is the table's bound in bytes: some 150,000 leases.
const DefaultLimit = 64 << 20

// What one thing is reckoned to take, in bytes, with its share of maps.
const (
	leaseBytes  = 400
	holderBytes = 500
	beamBytes   = 200
)

// clientShare is the part of the table that one client may fill: 1/clientShare.
const clientShare = 4

// Holder is one run of a client.
type Holder struct {
	Client  string    // SPIFFE id
	Mailbox wire.Hash // its mailbox; zero if it has none, and then it can't acknowledge
}

// Lease is what one item of a release gave out.
type Lease struct {
	Key        wire.KeyID
	Version    uint64
	Revocation []wire.RevocationID // of key, version and client
	Issued     int64               // Unix milliseconds, the server's clock
	Lease      uint32              // seconds from Issued
	Staleness  uint32              // seconds that a word may be old; 0 if that isn't known
}

func (l Lease) ends() int64 { return l.Issued + int64(l.Lease)*1000 }

// Options of a Table. Now is required.
type Options struct {
	Now   func() time.Time // the clock of Issued and of records
	Limit int              // bytes; 0: DefaultLimit

	// Since says that leases from before the table may be out, released until
	// then (Unix milliseconds): by an earlier run of the server. 0: none are.
	Since int64

	// Observe gets each holder's time to dark, once; nil: nobody asks. It must
	// not call the table.
	Observe func(time.Duration)
}

// Table of holders. It is safe for concurrent use.
type Table struct {
	now     func() time.Time
	limit   int
	since   int64
	observe func(time.Duration)

	mu        sync.Mutex
	started   bool
	epoch     wire.Epoch // how far the log has come
	word      int64      // newest word signed at or before epoch
	holders   map[Holder]*holder
	mailboxes map[wire.Hash][]*holder
	clients   map[string]int // bytes that each takes
	leases    byEnd
	bytes     int
	holding   int   // holders with a lease
	lostUntil int64 // when the last lease that was forgotten for want of room has ended
	tracked   []*revocation
	beams     int
}

// holder is a Holder with what it may hold.
type holder struct {
	Holder
	word   int64      // Issued of its newest grant
	acked  wire.Epoch // the latest that it has acknowledged
	leases map[leaseKey]*lease
	beams  int // revocations that name it
}

type leaseKey struct {
	id      wire.KeyID
	version uint64
}

// lease is what a holder got of one version: what came before may be in use
// beside the newest.
type lease struct {
	holder *holder
	key    leaseKey
	ids    []wire.RevocationID
	spans  spans
	end    int64      // the latest of the spans'
	epoch  wire.Epoch // of the newest grant
	at     int        // in the heap
}

// span is how long a lease may be used: to its end, and as long as a word is not
// older than so many seconds. 0 if that isn't known.
type span struct {
	end       int64
	staleness uint32
}

// spans holds the latest end of each staleness bound: there is one, unless people
// have changed it meanwhile.
type spans []span

const maxSpans = 4

func (s spans) with(n span) spans {
	for i, have := range s {
		if have.staleness == n.staleness {
			s[i].end = max(have.end, n.end)
			return s
		}
	}
	if len(s) < maxSpans {
		return append(s, n)
	}
	last := &s[maxSpans-1]
	last.end = max(last.end, n.end)
	if last.staleness = max(last.staleness, n.staleness); slices.Contains([]uint32{n.staleness, last.staleness}, 0) {
		last.staleness = 0
	}
	return s
}

// New returns an empty table.
func New(o Options) *Table {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Observe == nil {
		o.Observe = func(time.Duration) {}
	}
	return &Table{
		now: o.Now, limit: o.Limit, since: o.Since, observe: o.Observe, holders: map[Holder]*holder{},
		mailboxes: map[wire.Hash][]*holder{}, clients: map[string]int{},
	}
}

// Record notes what a grant of the given epoch gave to a holder. The table must
// have been told of that epoch ([Table.Advance]); a grant of an earlier one that
// comes late is counted with the revocations since.
func (t *Table) Record(h Holder, epoch wire.Epoch, leases []Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now().UnixMilli()
	t.sweep(now)
	for _, l := range leases {
		if l.ends() > now {
			t.record(h, epoch, l, now)
		}
	}
	if hd := t.holders[h]; hd != nil {
		t.heard(hd, epoch, leases)
	}
}

// heard notes that a grant reached the holder: it is a word, also for leases on
// other keys.
func (t *Table) heard(hd *holder, epoch wire.Epoch, leases []Lease) {
	for _, l := range leases {
		hd.word = max(hd.word, l.Issued)
		for _, r := range t.tracked {
			if b := r.lit[hd]; b != nil && epoch.Compare(r.epoch) < 0 {
				b.word = max(b.word, l.Issued)
			}
		}
	}
}

func (t *Table) record(h Holder, epoch wire.Epoch, l Lease, now int64) {
	hd, key, sp := t.holders[h], leaseKey{l.Key, l.Version}, span{l.ends(), l.Staleness}
	if hd != nil && t.stillborn(hd, epoch, l.Revocation) {
		return
	}
	if hd != nil && hd.leases[key] != nil {
		t.renew(hd.leases[key], epoch, sp)
	} else if hd = t.add(h, key, epoch, l, now); hd == nil {
		return
	}
	for _, r := range t.tracked {
		if epoch.Compare(r.epoch) < 0 && r.takenBack == 0 && sp.end > r.at && r.means(l.Revocation) {
			t.light(r, hd, sp)
		}
	}
}

// stillborn reports whether a grant of an earlier epoch comes to who has heard
// meanwhile that it is revoked, and so won't use it.
func (t *Table) stillborn(hd *holder, epoch wire.Epoch, ids []wire.RevocationID) bool {
	return slices.ContainsFunc(t.tracked, func(r *revocation) bool {
		return r.takenBack == 0 && epoch.Compare(r.epoch) < 0 && hd.acked.Compare(r.epoch) >= 0 && r.means(ids)
	})
}

func (t *Table) renew(have *lease, epoch wire.Epoch, sp span) {
	if epoch.Compare(have.epoch) > 0 {
		have.epoch = epoch
	}
	have.spans = have.spans.with(sp)
	have.end = max(have.end, sp.end)
	heap.Fix(&t.leases, have.at)
}

// add makes room for a lease and enters it; nil if there is none for it.
func (t *Table) add(h Holder, key leaseKey, epoch wire.Epoch, l Lease, now int64) *holder {
	need := leaseBytes
	if t.holders[h] == nil {
		need += holderBytes + len(h.Client)
	}
	if !t.room(h.Client, need, now) {
		t.lostUntil = max(t.lostUntil, l.ends())
		return nil
	}
	hd := t.holders[h] // making room may have forgotten it
	if hd == nil {
		hd = &holder{Holder: h, leases: map[leaseKey]*lease{}}
		t.holders[h] = hd
		t.take(hd, holderBytes+len(h.Client))
		if !h.Mailbox.IsZero() {
			t.mailboxes[h.Mailbox] = append(t.mailboxes[h.Mailbox], hd)
		}
	}
	if len(hd.leases) == 0 {
		t.holding++
	}
	hd.leases[key] = &lease{
		holder: hd, key: key, ids: slices.Clone(l.Revocation), spans: spans{{l.ends(), l.Staleness}}, end: l.ends(), epoch: epoch,
	}
	heap.Push(&t.leases, hd.leases[key])
	t.take(hd, leaseBytes)
	return hd
}

func (t *Table) take(hd *holder, n int) {
	t.bytes += n
	if t.clients[hd.Client] += n; t.clients[hd.Client] <= 0 {
		delete(t.clients, hd.Client)
	}
}

// room forgets what it must so that so many bytes more fit.
func (t *Table) room(client string, need int, now int64) bool {
	// Security: mailboxes cost a client nothing. With its share used up it loses
	// what is new of its own, and nobody else loses anything.
	if t.clients[client]+need > t.limit/clientShare {
		return false
	}
	for t.bytes+need > t.limit {
		done := slices.IndexFunc(t.tracked, func(r *revocation) bool { return r.over(now) })
		switch {
		case done >= 0:
			t.forget(t.tracked[done])
		case len(t.leases) > 0:
			t.lostUntil = max(t.lostUntil, t.leases[0].end)
			t.drop(t.leases[0])
		default:
			return false
		}
	}
	return true
}

// drop takes a lease out, and its holder with it if nothing else is known of it.
func (t *Table) drop(l *lease) {
	heap.Remove(&t.leases, l.at)
	delete(l.holder.leases, l.key)
	t.take(l.holder, -leaseBytes)
	if len(l.holder.leases) == 0 {
		t.holding--
		t.release(l.holder)
	}
}

func (t *Table) release(hd *holder) {
	if len(hd.leases) > 0 || hd.beams > 0 {
		return
	}
	delete(t.holders, hd.Holder)
	t.take(hd, -holderBytes-len(hd.Client))
	if hd.Mailbox.IsZero() {
		return
	}
	rest := slices.DeleteFunc(t.mailboxes[hd.Mailbox], func(o *holder) bool { return o == hd })
	if t.mailboxes[hd.Mailbox] = rest; len(rest) == 0 {
		delete(t.mailboxes, hd.Mailbox)
	}
}

// sweep forgets what has ended.
func (t *Table) sweep(now int64) {
	for len(t.leases) > 0 && t.leases[0].end <= now {
		t.drop(t.leases[0])
	}
}

// Holders is how many hold a lease that hasn't ended; those from before the table
// aren't counted.
func (t *Table) Holders() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(t.now().UnixMilli())
	return t.holding
}

// byEnd is a heap of leases, the one that ends first on top.
type byEnd []*lease

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].end < h[j].end }

func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *byEnd) Push(x any) {
	l := x.(*lease)
	l.at = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *byEnd) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
