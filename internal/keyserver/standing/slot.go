// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"

	"claviger/internal/authority/atrest"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

const (
	prefix    = "standing/"
	typeSlot  = "claviger/v1/standing"
	maxSlot   = 64 << 10 // bytes of a request as it is kept
	maxUsed   = 64       // hashes of claimed keys that are remembered over renewals
	idSize    = 16       // bytes of a MAC in a slot's name
	maxRaces  = 8        // tries to change a slot that others change too
	perClient = 32       // requests of one client: one for each mailbox, so for each of its runs
	maxKept   = 2048     // requests of a domain
)

// Request is a standing request as it is kept: what a release of its moment is
// made from, and which of its keys are left.
type Request struct {
	_       struct{} `cbor:",toarray"`
	Type    string
	Client  string
	Chain   [][]byte // the client's certificate as it was stapled, judged anew for each release
	Mailbox wire.Hash
	Sealed  wire.Hash // SealedHash of the request
	Items   []wire.Item
	Reason  string
	Until   int64       // Unix milliseconds
	Keys    [][]byte    // that nobody has claimed, in the order in which they are
	Used    []wire.Hash // HPKEHash of those that were claimed, the newest last
	Told    []uint64    // for each item the version that the client has, 0 for none
	Claimed int64       // Unix milliseconds of a claim that is not delivered yet; 0 without
	By      wire.ServerID
}

// Slots are the store's, as far as they are needed here.
type Slots interface {
	Get(ctx context.Context, key string) ([]byte, uint64, error)
	Put(ctx context.Context, key string, oldVersion uint64, value []byte) error
	List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error]
}

// slots are sealed requests by name.
type slots struct {
	Slots
	box   atrest.Box
	names *secret.HMAC
}

func newSlots(s Slots, seal *secret.Bytes, domain wire.DomainID) slots {
	key := kdf.Expand(seal, domain, "standing-name")
	defer key.Wipe()
	return slots{s, atrest.Box{Key: seal, Domain: domain, Label: "standing"}, secret.NewHMAC(key)}
}

func (s slots) ofClient(client string) string {
	sum := s.names.Sum([]byte("client\x00" + client))
	return prefix + hex.EncodeToString(sum[:idSize]) + "/"
}

func (s slots) name(client string, mailbox wire.Hash) string {
	sum := s.names.Sum([]byte("mailbox\x00"+client+"\x00"), mailbox[:])
	return s.ofClient(client) + hex.EncodeToString(sum[:idSize])
}

// read returns nil without an error for a slot that isn't there or doesn't open:
// nothing can be done for it, and a request takes its place.
func (s slots) read(ctx context.Context, name string) (*Request, uint64, error) {
	value, version, err := s.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read standing request: %w", err)
	}
	return s.open(name, value), version, nil
}

// open returns nil for what is no request of this name.
func (s slots) open(name string, value []byte) *Request {
	plain, err := s.box.Open(value, []byte(name))
	if err != nil {
		return nil
	}
	if r := parse(plain); r != nil && s.name(r.Client, r.Mailbox) == name {
		return r
	}
	return nil
}

// parse returns nil for what is no request.
func parse(plain []byte) *Request {
	var r Request
	if err := wire.Unmarshal(plain, &r, maxSlot); err != nil || !r.whole() {
		return nil
	}
	return &r
}

func (r *Request) whole() bool {
	return r.Type == typeSlot && wire.ValidID(r.Client) && len(r.Items) > 0 && len(r.Items) <= wire.MaxItems && len(r.Told) == len(r.Items) &&
		len(r.Keys) <= wire.MaxStanding && len(r.Used) <= maxUsed &&
		!slices.ContainsFunc(r.Items, func(i wire.Item) bool { return i.Check() != nil }) &&
		!slices.ContainsFunc(r.Keys, func(k []byte) bool { return len(k) != wire.PublicKeySize })
}

// write replaces a slot at a version; store.ErrConflict if it has another.
func (s slots) write(ctx context.Context, name string, version uint64, r *Request) error {
	plain := wire.Marshal(*r)
	if len(plain) > maxSlot {
		return fmt.Errorf("%w: it has %d bytes", ErrFull, len(plain))
	}
	return s.Put(ctx, name, version, s.box.Seal(plain, []byte(name)))
}

// remove deletes a slot; that somebody was faster is no error.
func (s slots) remove(ctx context.Context, name string, version uint64) error {
	if err := s.Put(ctx, name, version, nil); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("remove standing request: %w", err)
	}
	return nil
}

// take claims the next key for who.
func (r *Request) take(who wire.ServerID, now int64) []byte {
	key := r.Keys[0]
	r.Keys = r.Keys[1:]
	r.Used = append(r.Used, wire.HPKEHash(key))
	r.Used = r.Used[max(0, len(r.Used)-maxUsed):]
	r.Claimed, r.By = now, who
	return key
}
