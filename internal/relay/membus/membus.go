// SPDX-License-Identifier: Apache-2.0

// Package membus is what stands behind a relay's front where nothing has to
// outlive the process: its Bus, Table and Parcels in memory, within one process.
//
// [New] makes one. `claviger demo` uses it, so that a relay can be shown without
// NATS in the program; claviger-relay doesn't, because a relay that forgets parcels
// when it starts again is none (docs/design/carriers.md).
//
// What package relay asks of an implementation holds here as in package natsbus:
// a listener hears one call at a time, of two writers of a record one wins, numbers
// of parcels rise and no two domains share one, and every queue has a bound.
//
// Threats: as for natsbus, none to keys (T-61). Quotas keep one mailbox and one
// domain from taking the memory of others.
package membus

import (
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/wire"
)

// Bounds.
const (
	pending     = 256             // messages that wait for one listener; more are lost
	sameWithin  = 2 * time.Minute // in which the same parcel is kept once
	domainBytes = 16 << 20        // of the parcels of one domain
	maxRecords  = 1 << 12         // in the table: boards bound it far below
	maxLife     = 31 * 24 * time.Hour
)

// Bus is a relay's Bus, Table and Parcels. It is safe for concurrent use.
type Bus struct {
	clock clock.Clock

	mu        sync.Mutex
	listeners map[string][]*listener
	records   map[string]record
	revision  uint64
	changed   chan struct{} // closed, and made anew, when a record changes
	parcels   map[wire.DomainID][]parcel
	number    uint64
}

// New returns an empty Bus that keeps parcels of these domains.
func New(domains []wire.DomainID, clk clock.Clock) *Bus {
	b := &Bus{
		clock: clk, listeners: map[string][]*listener{}, records: map[string]record{}, changed: make(chan struct{}),
		parcels: map[wire.DomainID][]parcel{},
	}
	for _, d := range domains {
		b.parcels[d] = nil
	}
	return b
}

var (
	_ relay.Bus     = (*Bus)(nil)
	_ relay.Table   = (*Bus)(nil)
	_ relay.Parcels = (*Bus)(nil)
)
