// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"time"

	"claviger/internal/wire"
)

// What implementations of the interfaces below return, and what callers tell
// apart. Everything else means that the relay can't do its work at present.
var (
	ErrNobody   = errors.New("nobody listens there")
	ErrConflict = errors.New("the record has changed meanwhile")
	ErrNotFound = errors.New("there is no such thing")
	ErrQuota    = errors.New("the quota is used up")
)

// Bus carries messages between the processes of one relay, or within its only
// one. Nothing on it is ever written to a disk. Addresses are made of lower-case
// letters, digits and dots.
type Bus interface {
	// Listen calls hear, one call at a time, with each message for the address,
	// until stop is called, and then with those that were on their way. hear must
	// not block.
	Listen(address string, hear func(Message)) (stop func(), err error)
	// Ask sends a message and waits for one listener's reply. [ErrNobody], at
	// once, if there is no listener in any process.
	Ask(ctx context.Context, address string, data []byte) ([]byte, error)
	// Tell sends a message to every listener, if there are any.
	Tell(address string, data []byte) error
}

// Message is one that a listener hears. Reply may be called once, from any
// goroutine; it does nothing if nobody asked.
type Message struct {
	Data  []byte
	Reply func(data []byte)
}

// Record is a small value that every process of a relay knows.
type Record struct {
	Key      string // of the alphabet of a bus address
	Value    []byte
	Revision uint64 // rises with each change of any record
}

// Table keeps records, durably.
type Table interface {
	// Put writes a record over the one with r.Revision, 0 for none; ErrConflict
	// if that isn't the newest. The record goes away after life.
	Put(ctx context.Context, r Record, life time.Duration) (revision uint64, err error)
	// Get returns the newest record of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)
	// Watch calls each with every record that is there, returns, and then goes on
	// with each new one until ctx ends. A record may come twice. What has expired
	// isn't told.
	Watch(ctx context.Context, each func(Record)) error
}

// Parcel is a sealed message at rest.
type Parcel struct {
	Domain  wire.DomainID
	Mailbox wire.Hash
	Number  uint64 // given by the keep; no two parcels of a relay have the same
	Expires time.Time
	Data    []byte
}

// Quota bounds what lies in one mailbox.
type Quota struct {
	Parcels int
	Bytes   int64
}

// Parcels keeps parcels, durably, until they expire. Numbers rise with time
// within a domain, and a number of one domain is none of another.
type Parcels interface {
	// Add keeps a parcel; the same one twice within two minutes is kept once.
	// ErrQuota if the mailbox, or what the domain may keep in all, is full.
	Add(ctx context.Context, p Parcel, q Quota) (number uint64, err error)
	// Next returns the mailbox's first parcel with a number above after, or
	// ErrNotFound. The zero mailbox stands for any.
	Next(ctx context.Context, domain wire.DomainID, mailbox wire.Hash, after uint64) (Parcel, error)
	// Delete deletes a parcel of this mailbox, or returns ErrNotFound.
	Delete(ctx context.Context, domain wire.DomainID, mailbox wire.Hash, number uint64) error
}
