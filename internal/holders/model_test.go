// SPDX-License-Identifier: Apache-2.0

package holders_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"claviger/internal/holders"
	"claviger/internal/wire"
)

// model keeps every event and works the answer out from all of them, each time.
// Beside it run clients that follow the rules and hear some statements only.
type model struct {
	*kit
	rand    *rand.Rand
	grants  []*grant
	words   []word
	acks    []ack
	revoked []*revoked
	clients [people]client
}

type grant struct {
	to      int // holder
	epoch   wire.Epoch
	lease   holders.Lease
	at      int64 // when it was recorded
	dropped int64 // when its holder told that it is, 0 if it didn't
	unheld  int64 // when its holder dropped it, 0 if it hasn't
}

func (g *grant) ends() int64 { return g.lease.Issued + int64(g.lease.Lease)*1000 }

// under reports whether a revocation means the grant.
func (g *grant) under(r *revoked) bool {
	return g.epoch.Compare(r.Epoch) < 0 && g.lease.Revocation[0] == r.ID && g.ends() > r.At
}

type word struct {
	epoch  wire.Epoch
	issued int64
	to     int // holder, or everybody
	heard  [people]bool
}

type ack struct {
	by    int
	epoch wire.Epoch
}

type revoked struct {
	holders.Order
	takenBack int64
}

// client is what it knows: the epoch of the newest statement heard, and when.
type client struct {
	epoch wire.Epoch
	at    int64
	told  wire.Epoch // to the server
}

const people, keys, everybody = 6, 3, -1

// step lets one thing happen.
func (m *model) step() {
	m.clock.Advance(time.Duration(m.rand.IntN(90_000)) * time.Millisecond)
	epoch := m.epoch
	if m.rand.IntN(8) == 0 && epoch.Position > 3 {
		epoch.Position -= uint64(1 + m.rand.IntN(2)) // what was decided before and leaves now
	}
	switch n := m.rand.IntN(keys); m.rand.IntN(12) {
	case 0:
		if !m.stands(n) {
			o := order(n)
			o.Lease = 7200
			m.move(o)
			m.revoked = append(m.revoked, &revoked{Order: m.orders[len(m.orders)-1]})
		}
	case 1:
		if m.stands(n) {
			m.takeBack(n)
		}
	case 2, 3:
		m.state(epoch)
	case 4, 5:
		m.acknowledge(m.rand.IntN(people))
	default:
		if epoch != m.epoch || !m.stands(n) { // the choke point releases nothing that is revoked
			m.grant(n, m.rand.IntN(people), epoch)
		}
	}
}

func (m *model) stands(n int) bool {
	return slices.ContainsFunc(m.orders, func(o holders.Order) bool { return o.ID == rev(n) })
}

func (m *model) takeBack(n int) {
	for _, r := range m.revoked {
		if r.ID == rev(n) && r.takenBack == 0 && m.now() < r.At+7200_000 {
			r.takenBack = m.now()
		}
	}
	m.enable(order(n).Of)
}

// state signs a statement. Each client hears it or not, and drops what it says is
// revoked.
func (m *model) state(epoch wire.Epoch) {
	w := word{epoch: epoch, issued: m.now(), to: everybody}
	m.Stated(epoch, w.issued)
	for h := range m.clients {
		c := &m.clients[h]
		if m.rand.IntN(3) == 0 || epoch.Compare(c.epoch) < 0 {
			continue
		}
		w.heard[h] = true
		if epoch != c.epoch {
			c.epoch, c.at = epoch, m.now()
		}
		for _, g := range m.grants {
			if g.to == h && g.unheld == 0 && m.deadAt(g, epoch) {
				g.unheld = m.now()
			}
		}
	}
	m.words = append(m.words, w)
}

// deadAt reports whether a statement of an epoch says that a grant is revoked.
func (m *model) deadAt(g *grant, epoch wire.Epoch) bool {
	return slices.ContainsFunc(m.revoked, func(r *revoked) bool {
		return r.takenBack == 0 && g.under(r) && r.Epoch.Compare(epoch) <= 0
	})
}

func (m *model) grant(n, h int, epoch wire.Epoch) {
	l := m.lease(n)
	l.Lease, l.Staleness = uint32(600+m.rand.IntN(6600)), []uint32{60, 900, 2000}[m.rand.IntN(3)]
	m.Record(holder(h), epoch, []holders.Lease{l})
	g := &grant{to: h, epoch: epoch, lease: l, at: m.now()}
	w := word{epoch: epoch, issued: l.Issued, to: h}
	w.heard[h] = true
	m.grants, m.words = append(m.grants, g), append(m.words, w)
	for _, r := range m.revoked {
		if r.takenBack == 0 && g.under(r) && m.clients[h].told.Compare(r.Epoch) >= 0 {
			g.dropped = m.now()
		}
		if r.takenBack == 0 && g.under(r) && m.clients[h].epoch.Compare(r.Epoch) >= 0 {
			g.unheld = m.now()
		}
	}
}

func (m *model) acknowledge(h int) {
	c := &m.clients[h]
	if c.at == 0 || !m.Acked(holder(h).Mailbox, c.epoch, c.at) {
		return
	}
	c.told = c.epoch
	m.acks = append(m.acks, ack{h, c.epoch})
	for _, g := range m.grants {
		for _, r := range m.revoked {
			if g.to == h && g.dropped == 0 && r.takenBack == 0 && g.under(r) && r.Epoch.Compare(c.epoch) <= 0 {
				g.dropped = m.now()
			}
		}
	}
}

// byRules is when a holder that heard every word from before a revocation stops by
// itself to use what it revokes; 0 if it had nothing.
func (m *model) byRules(r *revoked, h int) int64 {
	var last int64
	for _, g := range m.grants {
		tracked := g.at > r.At || g.dropped == 0 || g.dropped > r.At
		if g.to != h || !g.under(r) || !tracked || g.at >= r.At && g.dropped == g.at || r.takenBack != 0 && g.at >= r.takenBack {
			continue
		}
		var newest int64
		for _, w := range m.words {
			if w.epoch.Compare(r.Epoch) < 0 && (w.to == everybody || w.to == h) {
				newest = max(newest, w.issued)
			}
		}
		last = max(last, min(g.ends(), newest+int64(g.lease.Staleness)*1000), r.At)
	}
	return last
}

func (m *model) acked(r *revoked, h int) bool {
	return slices.ContainsFunc(m.acks, func(a ack) bool { return a.by == h && a.epoch.Compare(r.Epoch) >= 0 })
}

// TestModel: who is lit and until when is exactly what the model says, and nobody
// who follows the rules still uses what is said to be dark.
func TestModel(t *testing.T) {
	for seed := range uint64(400) {
		m := &model{kit: newKit(t, holders.Options{}), rand: rand.New(rand.NewPCG(seed, 1))}
		for range 80 {
			m.step()
			for _, r := range m.revoked {
				if r.takenBack == 0 && m.now() < r.At+20*3600_000 {
					m.check(seed, r)
				}
			}
		}
	}
}

func (m *model) check(seed uint64, r *revoked) {
	m.Helper()
	got := m.report(r.Epoch)
	lit := map[holders.Holder]int64{}
	for _, l := range got.Lit {
		lit[l.Holder] = l.Ends
	}
	held := 0
	for h := range people {
		want := m.byRules(r, h)
		if want > 0 {
			held++
		}
		if want <= m.now() || m.acked(r, h) {
			want = 0
		}
		if lit[holder(h)] != want {
			m.Fatalf("seed %d: revocation %s, holder %d: lit until %d, want %d", seed, r.Epoch, h, lit[holder(h)], want)
		}
		if m.uses(r, h) && lit[holder(h)] == 0 {
			m.Fatalf("seed %d: revocation %s: holder %d is said to be dark and isn't", seed, r.Epoch, h)
		}
	}
	if got.Holders != held || got.Dark+len(got.Lit) != held {
		m.Fatalf("seed %d: revocation %s: %d holders, %d dark, want %d", seed, r.Epoch, got.Holders, got.Dark, held)
	}
}

// uses reports whether a client that follows the rules still uses what is
// revoked. It doesn't know the words that it hasn't heard.
func (m *model) uses(r *revoked, h int) bool {
	for _, g := range m.grants {
		if g.to != h || !g.under(r) || g.unheld != 0 {
			continue
		}
		newest := g.lease.Issued
		for _, w := range m.words {
			if w.heard[h] && w.epoch.Compare(r.Epoch) < 0 {
				newest = max(newest, w.issued)
			}
		}
		if min(g.ends(), newest+int64(g.lease.Staleness)*1000) > m.now() {
			return true
		}
	}
	return false
}
