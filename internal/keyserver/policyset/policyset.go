// SPDX-License-Identifier: Apache-2.0

package policyset

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"

	"claviger/internal/authority"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// Set is the parsed policy of one hash.
type Set struct {
	*policy.Set
	Blob   wire.Hash // of the source in the audit log; zero for an empty set
	Schema wire.Hash // likewise of the schema
	hash   wire.Hash
	source []byte

	decisions decisions
}

// Blobs is the audit log's store of what leaves name by hash.
type Blobs interface {
	Known(hash wire.Hash) bool
	Blob(data []byte) (wire.Hash, error)
}

// InForce gives the policy in force. It is safe for concurrent use.
type InForce struct {
	blobs   Blobs
	current atomic.Pointer[Set]
	parsing sync.Mutex // one parses a new policy
}

// New returns one that has parsed nothing yet.
func New(b Blobs) *InForce { return &InForce{blobs: b} }

// Get returns the set that the log has in force.
func (f *InForce) Get(s *authority.PolicySet) (*Set, error) {
	if have := f.current.Load(); have != nil && have.hash == s.Hash {
		return have, f.keep(have)
	}
	f.parsing.Lock() // one parses, the others wait for it
	defer f.parsing.Unlock()
	if have := f.current.Load(); have != nil && have.hash == s.Hash {
		return have, f.keep(have)
	}
	set, err := policy.Parse(s.Source)
	if err != nil {
		return nil, fmt.Errorf("the policy in force does not parse: %w", err)
	}
	next := &Set{Set: set, hash: s.Hash, source: s.Source, Schema: wire.Hash(sha256.Sum256([]byte(policy.Schema)))}
	if len(s.Source) > 0 {
		next.Blob = wire.Hash(sha256.Sum256(s.Source))
	}
	if err := f.keep(next); err != nil {
		return nil, err
	}
	f.current.Store(next)
	return next, nil
}

// keep makes sure that leaves may name policy and schema: the audit log knows the
// blobs of its current number and the one before, and no older.
func (f *InForce) keep(p *Set) error {
	err := f.keepOne(p.Schema, func() []byte { return []byte(policy.Schema) })
	if err == nil && !p.Blob.IsZero() {
		err = f.keepOne(p.Blob, func() []byte { return p.source })
	}
	return err
}

func (f *InForce) keepOne(hash wire.Hash, data func() []byte) error {
	if f.blobs.Known(hash) {
		return nil
	}
	if _, err := f.blobs.Blob(data()); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}
