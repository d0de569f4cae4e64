// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger/internal/authority/ahead"
	"claviger/internal/authority/endpoints"
	"claviger/internal/authority/invites"
	"claviger/internal/authority/keyring"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// ErrRefused means that a body doesn't hold: it would be void in the log.
var ErrRefused = errors.New("refused")

// errBase means that a body's base is unknown here. A server that is behind may
// find it by catching up.
var errBase = fmt.Errorf("%w: its base is not on this log", ErrRefused)

// Objects of which there is one.
const (
	objectMembers = "members" // the member chain
	objectDomain  = "domain"  // everything, for revoking it
)

const (
	// maxBodyLife bounds how far ahead of its record a body may expire: the time
	// it may wait for signatures, and an hour for clocks that disagree.
	maxBodyLife = PendingLife + time.Hour
	// maxVoidReason bounds what is kept of a void record's reason, in bytes.
	maxVoidReason = 200
	// forgetFrom is the number of applied body ids that is not worth a search for
	// expired ones.
	forgetFrom = 4096
)

// RevocationNamer gives a client's revocation id. Servers derive it from the
// root, so that statements don't show who is meant; admins, who only replay,
// have none.
type RevocationNamer func(client string) wire.RevocationID

// input is a body on its way into the state.
type input struct {
	entry   []byte
	signed  *wire.Signed
	body    *wire.Body
	link    wire.Link
	admins  []string // whose signatures verify
	byAdmin bool     // people signed it, not a server
}

// effect changes the state; it can't fail.
type effect func()

// change is what a kind's handler gives back: the object that the body is about,
// the effect that it has if nothing speaks against it, and whether this body
// takes a quorum although others of its kind don't.
type change struct {
	object string
	apply  effect
	quorum bool
}

// Found starts a state from the first record.
func Found(link wire.Link, entry []byte) (*State, error) {
	m, err := members.Found(entry)
	if err != nil {
		return nil, err
	}
	first := wire.Epoch{Generation: 1, Position: 1}
	if link.Epoch != first || !link.Previous.IsZero() || link.Content != wire.EntryHash(entry) {
		return nil, fmt.Errorf("%w: the first record is no genesis", ErrLog)
	}
	head := link.Hash()
	s := newState()
	s.Members, s.Epoch, s.Head, s.Time, s.Policy = m, first, head, link.Time, &PolicySet{Hash: PolicyHash(nil)}
	s.heads, s.membersAt, s.forgetAt = []wire.Hash{head}, 1, forgetFrom
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)
	if err != nil {
		return nil, err
	}
	s.confirm(signed)
	return s, nil
}

// newState is a state of no record.
func newState() *State {
	return &State{
		keys: keyring.New(), clients: map[string]*Client{}, invites: invites.New(), endpoints: endpoints.New(),
		anchors: map[wire.ServerID]wire.Checkpoint{}, receipts: map[wire.ServerID]Receipt{},
		confirmed: map[wire.Hash]bool{}, applied: map[wire.BodyID]int64{}, objects: map[string]wire.Hash{},
		Announced: members.Announced{}, joinedIn: map[wire.ServerID]uint64{}, rules: Table(),
	}
}

// PolicyHash names a policy set by its source.
func PolicyHash(source []byte) wire.Hash { return wire.Sum("policy", source) }

// Fold takes the next record into the state. A link that doesn't follow the
// head is an error and changes nothing; a body that doesn't hold makes the
// record void.
func (s *State) Fold(link wire.Link, entry []byte, namer RevocationNamer) error {
	return s.FoldParsed(ahead.Parse(link, entry), namer)
}

// FoldParsed is Fold for a record that was parsed before its turn, and whose
// signatures may have been verified. It asks for each of them all the same.
func (s *State) FoldParsed(r *ahead.Record, namer RevocationNamer) error {
	link := r.Link
	if err := s.follows(link, r.Entry); err != nil {
		return err
	}
	apply, err := s.plan(r, namer)
	switch {
	case err == nil:
		apply()
	// Security: a generation that rose without a quorum would make clients drop
	// what they know; such a record can't be passed over.
	case link.Epoch.Generation != s.Epoch.Generation:
		return fmt.Errorf("%w: record %d raises the generation and is void: %w", ErrLog, link.Epoch.Position, err)
	default:
		s.Voids = append(s.Voids, newVoid(r, err))
	}
	s.advance(link)
	return nil
}

func newVoid(r *ahead.Record, why error) Void {
	v := Void{Epoch: r.Link.Epoch, Reason: why.Error()}
	if r.Body != nil {
		v.Kind = r.Body.Kind
	}
	if len(v.Reason) > maxVoidReason {
		v.Reason = strings.ToValidUTF8(v.Reason[:maxVoidReason], "") + "…"
	}
	return v
}

func (s *State) advance(link wire.Link) {
	s.Epoch, s.Head, s.Time = link.Epoch, link.Hash(), link.Time
	s.heads = append(s.heads, s.Head)
}

// follows holds the chain: position, previous hash, time and content.
func (s *State) follows(link wire.Link, entry []byte) error {
	want := s.Epoch.Position + 1
	switch {
	case link.Epoch.Position != want:
		return fmt.Errorf("%w: record %d stands where record %d belongs", ErrLog, link.Epoch.Position, want)
	case link.Previous != s.Head:
		return fmt.Errorf("%w: record %d does not follow the record before it", ErrLog, want)
	case link.Time < s.Time:
		return fmt.Errorf("%w: the time of record %d goes back", ErrLog, want)
	case link.Content != wire.EntryHash(entry):
		return fmt.Errorf("%w: the body of record %d was changed", ErrLog, want)
	case link.Epoch.Generation < s.Epoch.Generation || link.Epoch.Generation > s.Epoch.Generation+1:
		return fmt.Errorf("%w: the generation of record %d", ErrLog, want)
	}
	return nil
}

// plan checks everything about a body and returns what it would do.
func (s *State) plan(r *ahead.Record, namer RevocationNamer) (effect, error) {
	if r.Err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, r.Err)
	}
	body, link := r.Body, r.Link
	in := input{entry: r.Entry, signed: r.Signed, body: body, link: link, admins: s.Members.Signers(r.Signed)}
	if err := s.timely(in); err != nil {
		return nil, err
	}
	ch, err := s.handle(in, namer)
	if err != nil {
		return nil, err
	}
	// Security: a body signed against an older version of its object is void,
	// or an old permission could undo a newer decision (T-38).
	if body.Replaces != s.Replaces(ch.object) {
		return nil, fmt.Errorf("%w: it was changed since this was signed", ErrRefused)
	}
	if restores := body.Kind == members.KindRestore; restores != (link.Epoch.Generation != s.Epoch.Generation) {
		return nil, fmt.Errorf("%w: only a restore raises the generation", ErrRefused)
	}
	// Security: the signer table. It is asked last, so that what only lacks
	// signatures can be told from what no signature would help.
	if err := s.authorised(&in, ch.quorum); err != nil {
		return nil, err
	}
	return func() { ch.apply(); s.remember(in, ch.object) }, nil
}

// remember notes what an applied body leaves behind whatever its kind.
func (s *State) remember(in input, object string) {
	s.applied[in.body.ID] = in.body.Expires
	if len(s.applied) >= s.forgetAt {
		maps.DeleteFunc(s.applied, func(_ wire.BodyID, expires int64) bool { return expires < in.link.Time })
		s.forgetAt = max(forgetFrom, 2*len(s.applied))
	}
	if in.byAdmin && object != objectMembers {
		s.note(object, wire.BodyHash(in.signed.Payload))
	}
	s.confirm(in.signed)
}

// note keeps the newest person-signed body of an object, a key's with the key.
func (s *State) note(object string, body wire.Hash) {
	if k := s.keys.Get(keyOf(object)); k != nil {
		k.Body = body
		s.keys.Put(k)
		return
	}
	s.objects[object] = body
}

// confirm notes the authority keys that have signed.
func (s *State) confirm(signed *wire.Signed) {
	names := s.Members.Signers(signed)
	for _, k := range s.Members.Keys.Keys {
		if slices.Contains(names, k.Name) {
			s.confirmed[k.Hash()] = true
		}
	}
}

// timely holds domain, expiry, single use and base.
func (s *State) timely(in input) error {
	b := in.body
	switch {
	case b.Domain != s.Members.Domain:
		return fmt.Errorf("%w: it belongs to another trust domain", ErrRefused)
	case b.Expires < in.link.Time:
		return fmt.Errorf("%w: it has expired", ErrRefused)
	case b.Expires > in.link.Time+maxBodyLife.Milliseconds():
		return fmt.Errorf("%w: it would hold for longer than %d days", ErrRefused, PendingLife/(24*time.Hour))
	case s.wasApplied(b.ID):
		return fmt.Errorf("%w: it was applied before", ErrRefused)
	case !s.On(b.Base, b.BaseHead):
		return errBase
	}
	// Security: who signed may have been trusted then and not now.
	if b.Base.Position < s.membersAt {
		return fmt.Errorf("%w: the members were changed since this was signed", ErrRefused)
	}
	return nil
}

func (s *State) wasApplied(id wire.BodyID) bool { _, ok := s.applied[id]; return ok }

// authorised holds the signer table. Quorum says that this body takes the
// threshold under a rule that lets one admin do less.
func (s *State) authorised(in *input, quorum bool) error {
	in.byAdmin = len(in.admins) > 0
	enough := uint64(len(in.admins)) >= s.Members.Keys.Threshold
	switch s.rules[in.body.Kind] {
	case Chain:
		return nil // Apply of package members holds its own rules
	case Quorum:
		return s.need(enough, in)
	case OneAdmin, RuledAdmin, QuorumIfLoose:
		return s.need(in.byAdmin && (enough || !quorum), in)
	case AdminOrServer:
		if in.byAdmin {
			return s.need(enough || !quorum, in)
		}
		return s.byServer(in)
	case RecoverQuorum:
		if err := s.Members.RecoveryQuorum(in.signed); err != nil {
			return fmt.Errorf("recovery quorum: %w", err)
		}
		return nil
	case ServerAlone:
		in.byAdmin = false
		return s.byServer(in)
	}
	return fmt.Errorf("%w: nobody may sign a %q", ErrRefused, in.body.Kind)
}

func (s *State) need(ok bool, in *input) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %d of %d", members.ErrThreshold, len(in.admins), s.Members.Keys.Threshold)
}

// byServer holds that the server that appended the record signed the body, and
// that it may serve.
func (s *State) byServer(in *input) error {
	key, err := s.Members.ServerKey(in.link.Server)
	if err != nil {
		return err
	}
	if err := in.signed.Verify(key); err != nil {
		return fmt.Errorf("%w: server %s has not signed", members.ErrThreshold, in.link.Server)
	}
	return nil
}

func parseEntry(entry []byte) (*wire.Signed, *wire.Body, error) {
	r := ahead.Parse(wire.Link{}, entry)
	if r.Err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, r.Err)
	}
	return r.Signed, r.Body, nil
}
