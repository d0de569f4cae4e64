// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"iter"
	"maps"
	"slices"

	"claviger/internal/authority/endpoints"
	"claviger/internal/authority/invites"
	"claviger/internal/authority/keyring"
	"claviger/internal/authority/revoked"
	"claviger/internal/authority/secretring"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// State is what the log says. It is read under the Log's lock ([Log.View]);
// what it hands out by pointer is never changed afterwards.
type State struct {
	Members *members.State
	Epoch   wire.Epoch
	Head    wire.Hash
	Time    int64 // of the newest record, Unix milliseconds
	Policy  *PolicySet
	Voids   []Void
	Erasure uint64 // current erasure epoch
	Switch  []byte // the newest erasure switch, nil in epoch 0
	Revoked bool   // domain.revoke is in force

	Announced members.Announced // recoveries that wait

	rules     map[string]Rule
	keys      *keyring.Ring
	clients   map[string]*Client
	invites   invites.Book
	endpoints endpoints.Registry
	secrets   secretring.Ring
	backups   []Backup
	anchors   map[wire.ServerID]wire.Checkpoint
	receipts  map[wire.ServerID]Receipt
	confirmed map[wire.Hash]bool // key ids that have signed something that was applied
	revoked   revoked.List
	applied   map[wire.BodyID]int64    // body id → expiry
	forgetAt  int                      // size of applied at which expired ids are dropped
	objects   map[string]wire.Hash     // newest person-signed body of each object that is no key
	heads     []wire.Hash              // link hash by position-1
	restores  []uint64                 // position of the restore to generation index+2
	membersAt uint64                   // position of the newest members record
	joinedIn  map[wire.ServerID]uint64 // erasure epoch in which a server joined
}

// PolicySet is the policy in force.
type PolicySet struct {
	_      struct{} `cbor:",toarray"`
	Source []byte
	Hash   wire.Hash // Sum("policy", source)
	Body   wire.Hash
}

// Client is a workload's standing with the domain.
type Client struct {
	_        struct{} `cbor:",toarray"`
	ID       string
	Revoked  bool
	Enrolled int64 // Unix milliseconds of the newest certificate, 0 if only revoked
	NotAfter int64
	Key      wire.Hash
	RevID    wire.RevocationID
}

// Void is a record that changed nothing, and why.
type Void struct {
	_      struct{} `cbor:",toarray"`
	Epoch  wire.Epoch
	Kind   string
	Reason string
}

// Key returns the key with this id, nil without one.
func (s *State) Key(id wire.KeyID) *Key { return s.keys.Get(id) }

// KeyNamed returns the key with this name, nil without one.
func (s *State) KeyNamed(name string) *Key { return s.keys.Named(name) }

// Keys yields every key in the order of names.
func (s *State) Keys() iter.Seq[*Key] { return s.keys.All() }

// ScanKeys yields every key in no order. It is for looking at many: the key is
// overwritten when the loop goes on.
func (s *State) ScanKeys() iter.Seq[*Key] { return s.keys.Scan() }

// KeyCount is the number of keys.
func (s *State) KeyCount() int { return s.keys.Len() }

// Client returns what is known of a SPIFFE id, nil if nothing is.
func (s *State) Client(id string) *Client { return s.clients[id] }

// Clients yields every client in the order of ids.
func (s *State) Clients() iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.clients)) {
			if !yield(s.clients[id]) {
				return
			}
		}
	}
}

// ClientRevoked reports whether the SPIFFE id is revoked, whoever issued its
// certificate.
func (s *State) ClientRevoked(id string) bool {
	c := s.clients[id]
	return c != nil && c.Revoked
}

// Invite returns an invite, nil if there is none with this id.
func (s *State) Invite(id wire.BodyID) *InviteState { return s.invites.Open[id] }

// Endpoint returns what is said of an endpoint, nil if there never was one of this
// name.
func (s *State) Endpoint(name string) *EndpointState { return s.endpoints.Get(name) }

// Endpoints yields every endpoint, removed ones too, in the order of names.
func (s *State) Endpoints() iter.Seq[*EndpointState] { return s.endpoints.All() }

// Secrets are the versioned secrets, to be read under the Log's lock.
func (s *State) Secrets() *secretring.Ring { return &s.secrets }

// EndpointAt returns the endpoint that answers under a host, nil without one.
func (s *State) EndpointAt(host string) *EndpointState { return s.endpoints.At(host) }

// Confirmed reports whether the admin's present key has signed anything that was
// applied: then it is in the hands of who should have it.
func (s *State) Confirmed(admin string) bool {
	for _, k := range s.Members.Keys.Keys {
		if k.Name == admin {
			return s.confirmed[k.Hash()]
		}
	}
	return false
}

// Backups lists the backups that are not known to be gone.
func (s *State) Backups() []Backup { return slices.Clone(s.backups) }

// Anchor is the newest anchored checkpoint of a server's audit log.
func (s *State) Anchor(id wire.ServerID) (wire.Checkpoint, bool) {
	c, ok := s.anchors[id]
	return c, ok
}

// Anchors lists the anchored checkpoint of each server.
func (s *State) Anchors() map[wire.ServerID]wire.Checkpoint {
	return maps.Clone(s.anchors)
}

// Receipt is the newest erasure receipt of a server.
func (s *State) Receipt(id wire.ServerID) (Receipt, bool) {
	r, ok := s.receipts[id]
	return r, ok
}

// EpochKey is the public erasure-epoch key of a server: the one it joined with
// or the one of its newest receipt.
func (s *State) EpochKey(m members.Member) []byte {
	if r, ok := s.receipts[m.ID()]; ok {
		return r.NextKey
	}
	return m.EpochKey
}

// Revocations lists what holders must stop using at the given time (Unix
// milliseconds): every revocation whose longest lease has not ended. More than a
// statement holds (wire.MaxRevocations) are told as "everything": holders then
// ask again, and keep what is still theirs.
func (s *State) Revocations(now int64) []wire.RevocationID {
	return s.revoked.Told(s.Revoked, now)
}

// Revoking lists the revocations that [State.Revocations] tells of, each with what
// it revokes and its record: "key:ID", "key:ID/VERSION", "client:NAME" or "domain".
func (s *State) Revoking(now int64) []revoked.Entry { return s.revoked.Running(now) }

// HeadAt returns the head at a position of this log.
func (s *State) HeadAt(position uint64) (wire.Hash, bool) {
	if position == 0 || position > uint64(len(s.heads)) {
		return wire.Hash{}, false
	}
	return s.heads[position-1], true
}

// generationAt is the generation of the record at a position of this log.
func (s *State) generationAt(position uint64) uint64 {
	generation := uint64(1)
	for _, at := range s.restores {
		if at <= position {
			generation++
		}
	}
	return generation
}

// On reports whether an epoch and a head are one of this log's records.
func (s *State) On(e wire.Epoch, head wire.Hash) bool {
	at, ok := s.HeadAt(e.Position)
	return ok && at == head && s.generationAt(e.Position) == e.Generation
}

// Replaces returns the hash that a body about this object must name.
func (s *State) Replaces(object string) wire.Hash {
	if object == objectMembers {
		return s.Members.Newest
	}
	if k := s.keys.Get(keyOf(object)); k != nil {
		return k.Body
	}
	return s.objects[object]
}

// MayInvite reports whether an invite rule lets the admin invite this client.
func (s *State) MayInvite(admin, client string) bool { return s.invites.May(admin, client) }

// DestroyedExcept says what still stands between a destroyed version and its
// end: servers that have not erased the epoch, backups that hold its key. A
// server that left counts as erased: whoever let it go destroyed its files.
func (s *State) DestroyedExcept(v *Version) []string {
	var out []string
	if v.ErasedIn == 0 {
		return nil
	}
	for _, m := range s.Members.Servers {
		clean := max(s.receipts[m.ID()].Epoch, s.joinedIn[m.ID()])
		if m.Status != members.StatusLeft && clean < v.ErasedIn {
			out = append(out, "server "+m.Name)
		}
	}
	for _, b := range s.backups {
		if b.HoldsEEK && b.ErasureEpoch < v.ErasedIn && b.ErasureEpoch >= v.BornIn {
			out = append(out, "backup "+b.ID.String())
		}
	}
	return out
}
