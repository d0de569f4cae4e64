// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// TypeMark is the type string of a Mark.
const TypeMark = "claviger/v1/client-mark"

// MaxMark bounds an encoded Mark in bytes.
const MaxMark = wire.MaxRelease + 8<<10

// Mark is the newest state of the domain that a client has believed. The zero
// value knows nothing.
type Mark struct {
	_           struct{} `cbor:",toarray"`
	Type        string   // TypeMark
	Domain      wire.DomainID
	Epoch       wire.Epoch
	Head        wire.Hash
	Witness     []byte // the signed message that showed Epoch and Head
	Checkpoints []Checkpoint
}

// Checkpoint is the newest audit checkpoint of one server that a client has
// believed.
type Checkpoint struct {
	_      struct{} `cbor:",toarray"`
	Server wire.ServerID
	Issued int64 // Unix milliseconds by that server's clock
	Log    uint64
	Size   uint64
	Root   wire.Hash
}

// ParseMark reads an encoded Mark of the given domain.
func ParseMark(data []byte, domain wire.DomainID) (Mark, error) {
	var m Mark
	if err := wire.Unmarshal(data, &m, MaxMark); err != nil {
		return Mark{}, fmt.Errorf("read mark: %w", err)
	}
	if m.Type != TypeMark || m.Domain != domain || len(m.Checkpoints) > members.MaxServers*4 {
		return Mark{}, fmt.Errorf("read mark: %w", wire.ErrMalformed)
	}
	return m, nil
}

// Merge returns what is newest of both: the later epoch with its head, and of
// each server the later checkpoint. Both can't be true if they give one epoch two
// heads (ErrFork), or if one shows an audit log that does not go on from the
// other's (ErrRollback, ErrIntegrity).
func (m Mark) Merge(o Mark) (Mark, error) {
	out := m
	switch c := o.Epoch.Compare(m.Epoch); {
	case c > 0:
		out = o
	case c == 0 && m.Head != o.Head:
		return Mark{}, fmt.Errorf("%w (epoch %s)", ErrFork, m.Epoch)
	}
	out.Checkpoints = slices.Clone(m.Checkpoints)
	for _, c := range o.Checkpoints {
		at := slices.IndexFunc(out.Checkpoints, func(have Checkpoint) bool { return have.Server == c.Server })
		if at < 0 {
			out.Checkpoints = append(out.Checkpoints, c)
			continue
		}
		newer, err := later(out.Checkpoints[at], c)
		if err != nil {
			return Mark{}, err
		}
		out.Checkpoints[at] = newer
	}
	return out, nil
}

// Keeper makes what a View learns outlast the process. Save calls return when it
// is durable.
type Keeper interface {
	// SaveMark keeps m merged with what is kept already, and returns what is kept
	// then. It refuses a contradiction (Mark.Merge) and returns what is kept
	// with that error.
	SaveMark(m Mark) (Mark, error)
	// SaveMembers keeps a member chain.
	SaveMembers(chain [][]byte) error
	// SaveProof keeps two signed messages that can't both be honest.
	SaveProof(typ string, a, b []byte) error
}

// Options of a View.
type Options struct {
	Domain  wire.DomainID
	Demo    bool     // the only kind of domain that is believed
	Members [][]byte // the newest chain believed so far
	Mark    Mark
	Keeper  Keeper
	Clock   clock.Clock
	Padding wire.Padding // of what is asked
}

// View is what one client believes of its domain. It is safe for concurrent
// use.
type View struct {
	domain wire.DomainID
	demo   bool
	keeper Keeper
	clock  clock.Clock
	pad    wire.Padding

	mu       sync.Mutex
	state    *members.State
	mark     Mark
	anchors  map[wire.ServerID]anchor
	told     heard // by the newest statement
	answered heard // by the newest answer
	news     *News // of the newest epoch; nil without
}

// New verifies the chain against the domain id and returns a View.
func New(o Options) (*View, error) {
	state, err := members.Verify(o.Members, o.Domain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	v := &View{
		domain: o.Domain, demo: o.Demo, keeper: o.Keeper, clock: o.Clock, pad: o.Padding,
		state: state, mark: o.Mark, anchors: map[wire.ServerID]anchor{},
	}
	if state.Genesis.Demo != o.Demo {
		return nil, demoError(state.Genesis.Demo)
	}
	return v, nil
}

func demoError(demo bool) error {
	if demo {
		return fmt.Errorf("%w: this is a demo domain", ErrDemo)
	}
	return fmt.Errorf("%w: this is not a demo domain", ErrDemo)
}

// Members is the newest member chain believed.
func (v *View) Members() *members.State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// Mark is the newest state believed.
func (v *View) Mark() Mark {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.mark
	m.Checkpoints = slices.Clone(m.Checkpoints)
	return m
}

// Peer is a server that the member chain vouches for, and what it can be asked
// with at present.
type Peer struct {
	Server     wire.ServerID
	Descriptor *wire.Descriptor
	Hash       wire.Hash // DescriptorHash
	key        crypto.PublicKey
}

// Introduce verifies an introduction and takes over its member chain if that
// goes on from the one believed.
func (v *View) Introduce(data []byte) (*Peer, error) {
	in, err := wire.ParseIntroduction(data)
	if err != nil {
		return nil, fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	state, err := members.Verify(in.Members, v.domain)
	if err != nil {
		return nil, fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	// Security: a chain without the newest link seen would bring back removed
	// keys and fenced servers (T-33).
	if !state.Contains(v.state.Newest) {
		if v.state.Contains(state.Newest) {
			return nil, fmt.Errorf("introduction: %w: membership", ErrRollback)
		}
		return nil, integrity("introduction: membership has split")
	}
	peer, err := v.peer(in.Descriptor, state)
	if err != nil {
		return nil, err
	}
	if state.Newest != v.state.Newest {
		if err := v.keeper.SaveMembers(state.Chain); err != nil {
			return nil, fmt.Errorf("keep member chain: %w", err)
		}
	}
	v.state = state
	return peer, nil
}

// peer verifies a descriptor with the key that state gives its server.
func (v *View) peer(signed []byte, state *members.State) (*Peer, error) {
	claim, err := wire.PeekDescriptor(signed)
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor: %w", ErrIntegrity, err)
	}
	key, err := state.ServerKey(claim.Server)
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor: %w", ErrIntegrity, err)
	}
	d, err := wire.ParseDescriptor(signed, key)
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor: %w", ErrIntegrity, err)
	}
	if d.Domain != v.domain {
		return nil, integrity("descriptor of another domain")
	}
	if v.ended(d) {
		return nil, fmt.Errorf("%w: its descriptor has ended; is this machine's clock right?", ErrStale)
	}
	return &Peer{Server: d.Server, Descriptor: d, Hash: wire.DescriptorHash(signed), key: key}, nil
}

// Usable reports whether requests may still be sealed to p: its descriptor has
// not ended and its server is not fenced.
func (v *View) Usable(p *Peer) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.state.ServerKey(p.Server)
	return err == nil && !v.ended(p.Descriptor)
}

// word is what a signed message says about the domain's state.
type word struct {
	epoch   wire.Epoch
	head    wire.Hash
	members wire.Hash
	signed  []byte
	typ     string
}

// checkWord holds a signed message's epoch, head and members against what is
// believed: a statement against the mark, an answer against the mark as it stood
// when the question left (since), because others may have moved it meanwhile. The
// caller holds v.mu.
func (v *View) checkWord(w word, since wire.Epoch) error {
	if w.members != v.state.Newest {
		if v.state.Contains(w.members) {
			return fmt.Errorf("%w: membership", ErrRollback)
		}
		return ErrMembers
	}
	// Security: only the quorum's restore entry, a link of the member chain,
	// raises the generation; without it, somebody could outrun every mark.
	if w.epoch.Generation != v.state.Generation || w.epoch.Position == 0 {
		return integrity("epoch %s in generation %d", w.epoch, v.state.Generation)
	}
	switch c := w.epoch.Compare(v.mark.Epoch); {
	case w.epoch.Compare(since) < 0:
		return fmt.Errorf("%w: epoch %s after %s", ErrRollback, w.epoch, v.mark.Epoch)
	case c == 0 && w.head != v.mark.Head:
		if err := v.keeper.SaveProof(w.typ, v.mark.Witness, w.signed); err != nil {
			return fmt.Errorf("%w (epoch %s); the proof could not be kept: %w", ErrFork, w.epoch, err)
		}
		return fmt.Errorf("%w (epoch %s)", ErrFork, w.epoch)
	}
	return nil
}

// advance takes a checked word over into the mark and has it kept, if it is
// news. The caller holds v.mu.
func (v *View) advance(w word) error {
	if w.epoch.Compare(v.mark.Epoch) <= 0 {
		return nil
	}
	m := v.mark
	m.Type, m.Domain, m.Epoch, m.Head, m.Witness = TypeMark, v.domain, w.epoch, w.head, w.signed
	return v.keep(m, w)
}

// keep takes over a mark of w's epoch, unless another process that shares the
// keeper has seen what contradicts it.
func (v *View) keep(m Mark, w word) error {
	kept, err := v.keeper.SaveMark(m)
	if errors.Is(err, ErrFork) {
		if err := v.keeper.SaveProof(w.typ, kept.Witness, w.signed); err != nil {
			return fmt.Errorf("%w (epoch %s); the proof could not be kept: %w", ErrFork, w.epoch, err)
		}
	}
	if err != nil {
		return fmt.Errorf("keep mark: %w", err)
	}
	v.mark = kept
	return nil
}
