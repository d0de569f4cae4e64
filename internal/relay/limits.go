// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"claviger/internal/wire"
)

// Limits bound what callers can take; a zero field means its default, which
// docs/spec/relay.md, section 4, tells.
type Limits struct {
	Connections           int     // in all; more wait
	ConnectionsPerAddress int     // of one address (IPv6: of one /64); more are closed
	Rate                  float64 // requests a second of one address, after Burst
	Burst                 int
	UnderWay              int           // requests of one mailbox that wait for an answer, in one process
	Bodies                int           // messages that are being read or wait, in all
	BodiesPerAddress      int           // of one address
	Parcels               int           // of one mailbox
	ParcelBytes           int64         // of one mailbox
	ParcelLife            time.Duration // at most
	Ring                  int           // what passed, for the dump
}

func (l Limits) filled() Limits {
	set(&l.Connections, 20000)
	set(&l.ConnectionsPerAddress, 1000)
	set(&l.Rate, 200)
	set(&l.Burst, 400)
	set(&l.UnderWay, 256)
	set(&l.Bodies, 1024)
	set(&l.BodiesPerAddress, 128)
	set(&l.Parcels, 64)
	set(&l.ParcelBytes, 4<<20)
	set(&l.ParcelLife, 48*time.Hour)
	set(&l.Ring, 4096)
	return l
}

func set[T int | int64 | float64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Fixed bounds.
const (
	silence      = 15 * time.Second // a peer that takes or sends nothing within a message
	wholeMessage = time.Minute      // a message in all, whoever sends a byte now and then
	answerIn     = 15 * time.Second // after which a request is given up
	skew         = time.Minute      // between the relay's clock and a signature's
	queueBytes   = 8 << 20          // what waits to be written to one receiver
	boardRate    = 10               // writes of one mailbox to a board in a second
	boardBurst   = 20
)

// bodyLimits by what is sent.
const (
	maxParcelBody = wire.MaxParcel
	maxTokensBody = 1 << 10
)

// place is the part of an address that one party is taken to own: all of an IPv4
// address, the first 64 bits of an IPv6 one.
func place(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{} // no network that has addresses: all are one
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the bits fit the address
	return p
}

// rates are token buckets, one a key.
type rates[K comparable] struct {
	rate, burst float64

	mu    sync.Mutex
	full  map[K]bucket
	swept time.Duration
}

// bucket holds what is left at a time.
type bucket struct {
	left float64
	at   time.Duration
}

func newRates[K comparable](rate float64, burst int) *rates[K] {
	return &rates[K]{rate: rate, burst: float64(burst), full: map[K]bucket{}}
}

// take reports whether one more is allowed at a boot time.
func (r *rates[K]) take(k K, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	b := r.now(k, now)
	if b.left < 1 {
		return false
	}
	b.left--
	r.full[k] = b
	return true
}

// refund gives back what was taken for something that turned out to be wanted.
func (r *rates[K]) refund(k K, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.now(k, now)
	b.left = min(b.left+1, r.burst)
	r.full[k] = b
}

func (r *rates[K]) now(k K, now time.Duration) bucket {
	b, ok := r.full[k]
	if !ok {
		return bucket{r.burst, now}
	}
	return bucket{min(b.left+r.rate*(now-b.at).Seconds(), r.burst), now}
}

// sweep drops those that have filled up again: what is kept is bounded by what
// came within the time that a bucket takes to fill.
func (r *rates[K]) sweep(now time.Duration) {
	if now-r.swept < time.Second {
		return
	}
	r.swept = now
	for k, b := range r.full {
		if b.left+r.rate*(now-b.at).Seconds() >= r.burst {
			delete(r.full, k)
		}
	}
}

// gate counts what goes on at once, in all and for each key.
type gate[K comparable] struct {
	all, each int

	mu    sync.Mutex
	count int
	by    map[K]int
}

func newGate[K comparable](all, each int) *gate[K] {
	return &gate[K]{all: all, each: each, by: map[K]int{}}
}

// enter reports whether one more may begin; leave has to follow then.
func (g *gate[K]) enter(k K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all > 0 && g.count >= g.all || g.by[k] >= g.each {
		return false
	}
	g.count++
	g.by[k]++
	return true
}

func (g *gate[K]) leave(k K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.by[k]--; g.by[k] == 0 {
		delete(g.by, k)
	}
}

func (g *gate[K]) running() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}
