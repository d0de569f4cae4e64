// SPDX-License-Identifier: Apache-2.0

package membus

import (
	"bytes"
	"context"
	"slices"
	"time"

	"claviger/internal/relay"
	"claviger/internal/wire"
)

// parcel is one at rest, and when it came in boot time.
type parcel struct {
	relay.Parcel
	came time.Duration
}

// Add keeps a parcel.
func (b *Bus) Add(_ context.Context, p relay.Parcel, q relay.Quota) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, ok := b.lying(p.Domain)
	if !ok {
		return 0, relay.ErrNotFound
	}
	now := b.clock.Boot()
	count, bytesThere, all := 0, int64(len(p.Data)), int64(len(p.Data))
	for _, x := range list {
		all += int64(len(x.Data))
		if x.Mailbox != p.Mailbox {
			continue
		}
		if bytes.Equal(x.Data, p.Data) && now-x.came < sameWithin {
			return x.Number, nil
		}
		count++
		bytesThere += int64(len(x.Data))
	}
	if count >= q.Parcels || bytesThere > q.Bytes || all > domainBytes {
		return 0, relay.ErrQuota
	}
	b.number++
	p.Number, p.Data = b.number, bytes.Clone(p.Data)
	b.parcels[p.Domain] = append(list, parcel{p, now})
	return p.Number, nil
}

// lying drops what has expired of a domain and lists the rest.
func (b *Bus) lying(domain wire.DomainID) ([]parcel, bool) {
	list, ok := b.parcels[domain]
	if !ok {
		return nil, false
	}
	now := b.clock.Now()
	list = slices.DeleteFunc(list, func(p parcel) bool { return !p.Expires.After(now) })
	b.parcels[domain] = list
	return list, true
}

// Next finds a mailbox's next parcel.
func (b *Bus) Next(_ context.Context, domain wire.DomainID, mailbox wire.Hash, after uint64) (relay.Parcel, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, _ := b.lying(domain) // of none is none
	for _, p := range list {
		if p.Number > after && (mailbox.IsZero() || p.Mailbox == mailbox) {
			out := p.Parcel
			out.Data = bytes.Clone(out.Data)
			return out, nil
		}
	}
	return relay.Parcel{}, relay.ErrNotFound
}

// Delete deletes a parcel of this mailbox.
func (b *Bus) Delete(_ context.Context, domain wire.DomainID, mailbox wire.Hash, number uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, _ := b.lying(domain)
	// Security: a number is guessed easily; only the mailbox says whose it is (T-66).
	at := slices.IndexFunc(list, func(p parcel) bool { return p.Number == number && p.Mailbox == mailbox })
	if at < 0 {
		return relay.ErrNotFound
	}
	b.parcels[domain] = slices.Delete(list, at, at+1)
	return nil
}
