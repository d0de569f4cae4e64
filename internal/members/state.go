// SPDX-License-Identifier: Apache-2.0

package members

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"claviger/internal/wire"
)

// ErrChain means that a member chain, or a link of it, is not valid: malformed,
// wrongly signed, out of order, or not of the pinned domain.
var ErrChain = errors.New("member chain refused")

// ErrThreshold means that too few of those who may sign a body have signed it.
var ErrThreshold = errors.New("signatures missing")

// Status of a server.
type Status int

// A server serves only while it is Active.
const (
	StatusUnknown Status = iota
	StatusActive
	StatusFenced
	StatusLeft
)

// String names the status.
func (s Status) String() string {
	return [...]string{"unknown", "active", "fenced", "left"}[s]
}

// Member is a server with its status.
type Member struct {
	Server
	Status Status
}

// State is the membership after some link of the chain. It is never changed:
// Apply returns another.
type State struct {
	Domain     wire.DomainID
	Genesis    Genesis
	Keys       Keys
	Recovery   Recovery
	Anchors    []Anchor
	Servers    []Member // in order of joining
	Generation uint64
	Newest     wire.Hash // BodyHash of the newest link
	Chain      [][]byte  // all links, signed
	hashes     []wire.Hash
	size       int
}

// Verify folds a whole chain and refuses it unless it starts with the genesis
// that pin names.
func Verify(chain [][]byte, pin wire.DomainID) (*State, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrChain)
	}
	size := 0
	for _, link := range chain {
		size += len(link)
	}
	if size > wire.MaxMembers {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrChain, wire.MaxMembers)
	}
	state, err := Found(chain[0])
	if err != nil {
		return nil, err
	}
	// Security: the pin is the root of a client's trust (threat T-08).
	if state.Domain != pin {
		return nil, fmt.Errorf("%w: it belongs to another trust domain", ErrChain)
	}
	for _, link := range chain[1:] {
		if state, err = state.Apply(link); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// Found reads a signed genesis. It must be signed by one of the keys that it
// names; who pins its hash trusts it for its content, not for that signature.
func Found(entry []byte) (*State, error) {
	signed, body, err := parse(entry)
	if err != nil {
		return nil, err
	}
	blank := body.Domain == wire.DomainID{} && body.Base == wire.Epoch{} && body.BaseHead.IsZero() && body.Replaces.IsZero()
	if body.Kind != KindGenesis || !blank {
		return nil, fmt.Errorf("%w: the first link is no genesis", ErrChain)
	}
	var g Genesis
	if err := wire.Unmarshal(body.Payload, &g, wire.MaxMembers); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrChain, err)
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	hash := wire.BodyHash(signed.Payload)
	s := &State{
		Domain: wire.DomainID(hash), Genesis: g, Keys: g.Keys, Recovery: g.Recovery, Anchors: g.Anchors,
		Servers: []Member{{g.Server, StatusActive}}, Generation: 1,
		Newest: hash, Chain: [][]byte{entry}, hashes: []wire.Hash{hash}, size: len(entry),
	}
	if _, err := s.OneAdmin(signed); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrChain, err)
	}
	return s, nil
}

func (g Genesis) check() error {
	if !wire.ValidTrustDomain(g.Name) || g.RootGeneration != 1 || g.Root.IsZero() {
		return fmt.Errorf("%w: genesis", ErrChain)
	}
	founder := State{Servers: []Member{{g.Server, StatusActive}}}
	for _, err := range []error{g.Keys.Check(), g.Recovery.Check(), checkAnchors(g.Anchors, g.Name), g.Server.check(), founder.apart(slices.Concat(g.Keys.Keys, g.Recovery.Keys))} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Apply returns the state after one further signed link, and leaves s as it is.
// ErrThreshold: the change could be made, with more signatures; ErrChain: it
// can't.
func (s *State) Apply(entry []byte) (*State, error) {
	signed, body, err := parse(entry)
	if err != nil {
		return nil, err
	}
	if limit := s.limit(body.Kind); s.size+len(entry) > limit {
		return nil, fmt.Errorf("%w: it would exceed %d bytes", ErrChain, limit)
	}
	if body.Domain != s.Domain {
		return nil, fmt.Errorf("%w: a link of another trust domain", ErrChain)
	}
	// Security: without this, an old link could be played again (T-38).
	if body.Replaces != s.Newest {
		return nil, fmt.Errorf("%w: a link does not follow the one before", ErrChain)
	}
	next := s.clone()
	if err := next.change(body); err != nil {
		return nil, err
	}
	// Security: the state before the change says who may make it. It is asked
	// last, so that nobody collects signatures for what can't be done.
	if err := s.signedFor(body.Kind, signed, body); err != nil {
		return nil, fmt.Errorf("%s: %w", body.Kind, err)
	}
	hash := wire.BodyHash(signed.Payload)
	next.Newest = hash
	next.Chain = append(next.Chain, entry)
	next.hashes = append(next.hashes, hash)
	next.size += len(entry)
	return next, nil
}

// limit is how large the chain may get with a further link of this kind.
func (s *State) limit(kind string) int {
	if kind == KindKeys || kind == KindRecover {
		return wire.MaxMembers
	}
	return wire.MaxMembers - reserved
}

func (s *State) clone() *State {
	next := *s
	next.Servers = slices.Clone(s.Servers)
	next.Chain = slices.Clip(s.Chain)
	next.hashes = slices.Clip(s.hashes)
	return &next
}

// IsKind reports whether bodies of this kind belong to the member chain.
func IsKind(kind string) bool {
	switch kind {
	case KindKeys, KindJoin, KindFence, KindUnfence, KindLeave, KindRestore, KindAnchors, KindRecovery, KindRecover:
		return true
	}
	return false
}

// signedFor holds a link's signatures against the state before it.
func (s *State) signedFor(kind string, signed *wire.Signed, body *wire.Body) error {
	switch kind {
	case KindFence:
		_, err := s.OneAdmin(signed)
		return err
	case KindRecover:
		if err := s.RecoveryQuorum(signed); err != nil {
			return fmt.Errorf("recovery quorum: %w", err)
		}
		return newKeysSigned(body, nil, signed)
	case KindKeys:
		if err := s.Quorum(signed); err != nil {
			return err
		}
		return newKeysSigned(body, s.Keys.Keys, signed)
	case KindJoin:
		if err := s.Quorum(signed); err != nil {
			return err
		}
		return serverSigned(body, signed)
	}
	return s.Quorum(signed)
}

// newKeysSigned holds that each key that comes new has signed too: nobody is
// made an authority with a key that isn't theirs.
func newKeysSigned(body *wire.Body, old []Key, signed *wire.Signed) error {
	var keys Keys
	if err := wire.Unmarshal(body.Payload, &keys, wire.MaxMembers); err != nil {
		return fmt.Errorf("%w: keys: %w", ErrChain, err)
	}
	known := map[wire.Hash]bool{}
	for _, k := range old {
		known[k.Hash()] = true
	}
	for _, k := range keys.Keys {
		pub, err := k.PublicKey()
		if err != nil {
			return err
		}
		if !known[k.Hash()] && signed.Verify(pub) != nil {
			return fmt.Errorf("%w: new key %s has not signed", ErrThreshold, k.Name)
		}
	}
	return nil
}

// serverSigned holds that a joining server has its signing key.
func serverSigned(body *wire.Body, signed *wire.Signed) error {
	var server Server
	if err := wire.Unmarshal(body.Payload, &server, wire.MaxMembers); err != nil {
		return fmt.Errorf("%w: join: %w", ErrChain, err)
	}
	pub, err := server.PublicKey()
	if err != nil {
		return err
	}
	if signed.Verify(pub) != nil {
		return fmt.Errorf("%w: the joining server has not signed", ErrThreshold)
	}
	return nil
}

// Quorum reports nil if a quorum of the authority keys signed.
func (s *State) Quorum(signed *wire.Signed) error {
	return quorum(s.Keys.Keys, s.Keys.Threshold, signed)
}

// OneAdmin returns the name of an admin who signed.
func (s *State) OneAdmin(signed *wire.Signed) (string, error) {
	if names := s.Signers(signed); len(names) > 0 {
		return names[0], nil
	}
	return "", fmt.Errorf("%w: no admin signed", ErrThreshold)
}

// Signers names the admins whose signatures verify, each once.
func (s *State) Signers(signed *wire.Signed) []string { return signers(s.Keys.Keys, signed) }

// RecoverySigners names the holders of the recovery quorum whose signatures
// verify, each once.
func (s *State) RecoverySigners(signed *wire.Signed) []string {
	return signers(s.Recovery.Keys, signed)
}

// RecoveryQuorum reports nil if the recovery quorum signed; without one it never
// does.
func (s *State) RecoveryQuorum(signed *wire.Signed) error {
	return quorum(s.Recovery.Keys, s.Recovery.Threshold, signed)
}

// Admin returns the admin with the given key id.
func (s *State) Admin(kid wire.Hash) (Key, crypto.PublicKey, bool) { return find(s.Keys.Keys, kid) }

// Recoverer returns the holder of the recovery quorum with the given key id.
func (s *State) Recoverer(kid wire.Hash) (Key, crypto.PublicKey, bool) {
	return find(s.Recovery.Keys, kid)
}

func find(keys []Key, kid wire.Hash) (Key, crypto.PublicKey, bool) {
	for _, k := range keys {
		if k.Hash() != kid {
			continue
		}
		if pub, err := k.PublicKey(); err == nil {
			return k, pub, true
		}
	}
	return Key{}, nil, false
}

// Server returns the member with the given id.
func (s *State) Server(id wire.ServerID) (Member, bool) {
	for _, m := range s.Servers {
		if m.ID() == id {
			return m, true
		}
	}
	return Member{}, false
}

// ServerKey returns the signing key of a server that may serve.
func (s *State) ServerKey(id wire.ServerID) (crypto.PublicKey, error) {
	m, ok := s.Server(id)
	if !ok {
		return nil, fmt.Errorf("%w: server %s never joined", ErrChain, id)
	}
	// Security: a fenced server's word counts for nothing (T-09, T-33).
	if m.Status != StatusActive {
		return nil, fmt.Errorf("%w: server %s is %s", ErrChain, m.Name, m.Status)
	}
	return m.PublicKey()
}

// Contains reports whether the chain holds the link with this hash.
func (s *State) Contains(hash wire.Hash) bool { return slices.Contains(s.hashes, hash) }

func quorum(keys []Key, threshold uint64, signed *wire.Signed) error {
	have := len(signers(keys, signed))
	if threshold == 0 || uint64(have) < threshold {
		return fmt.Errorf("%w: %d of %d", ErrThreshold, have, threshold)
	}
	return nil
}

func signers(keys []Key, signed *wire.Signed) []string {
	var out []string
	for _, k := range keys {
		hash := k.Hash()
		if !slices.ContainsFunc(signed.Signatures, func(sig wire.Signature) bool { return sig.KID == hash }) {
			continue // parsing a key costs more than this look
		}
		if pub, err := k.PublicKey(); err == nil && signed.Verify(pub) == nil {
			out = append(out, k.Name)
		}
	}
	return out
}

func parse(entry []byte) (*wire.Signed, *wire.Body, error) {
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxMembers)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	body, err := wire.ParseBody(signed.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	// Security: the chain is bounded for ever, so nobody may fill it with what
	// no rule asks for.
	chained := func(sig wire.Signature) bool { return len(sig.Chain) > 0 }
	if len(signed.Signatures) > maxSignatures(body.Kind) || slices.ContainsFunc(signed.Signatures, chained) {
		return nil, nil, fmt.Errorf("%w: more signatures than it can need, or certificates", ErrChain)
	}
	return signed, body, nil
}

// maxSignatures is what a link of this kind can need: everybody who may sign and
// every key that comes new, or a server.
func maxSignatures(kind string) int {
	if kind == KindKeys || kind == KindRecover || kind == KindGenesis {
		return 2 * MaxKeys
	}
	return MaxKeys + 1
}
