// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"fmt"
	"slices"

	"claviger/internal/authority/revoked"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// handleKey finds the handlers of what is done to one key.
func (s *State) handleKey(in input) (change, error) {
	switch in.body.Kind {
	case KindKeyCreate:
		return on(in, s.keyCreate)
	case KindKeySettings:
		return on(in, s.keySettings)
	case KindKeyRotate:
		return on(in, s.keyRotate)
	case KindKeyVersion:
		return on(in, s.keyVersion)
	case KindKeyDisable, KindKeyEnable:
		return on(in, s.keySwitch)
	case KindKeyCompromise:
		return on(in, s.keyCompromise)
	case KindKeyDestroy:
		return on(in, s.keyDestroy)
	case KindKeyKeep:
		return on(in, s.keyKeep)
	}
	return refuse("unknown kind %q", in.body.Kind)
}

// Check reports whether settings are within the bounds of this version.
func (v Settings) Check() error {
	switch {
	case v.Rotation != 0 && (v.Rotation < MinRotation || v.Rotation > MaxRotation):
		return fmt.Errorf("%w: the rotation period is not within %d and %d seconds", ErrRefused, MinRotation, MaxRotation)
	case v.Lease == 0 || v.Lease > MaxLease:
		return fmt.Errorf("%w: the lease is not within 1 and %d seconds", ErrRefused, MaxLease)
	case v.Staleness < MinStaleness || v.Staleness > MaxLease:
		return fmt.Errorf("%w: the staleness bound is under two statement intervals (%d seconds)", ErrRefused, MinStaleness)
	case !slices.Contains(attestationLevels(), v.Attestation):
		return fmt.Errorf("%w: unknown attestation level", ErrRefused)
	case len(v.Tags) > maxTags:
		return fmt.Errorf("%w: more than %d tags", ErrRefused, maxTags)
	}
	for i, t := range v.Tags {
		if !wire.ValidNamePart(t.Name) || len(t.Value) > wire.MaxReason || i > 0 && t.Name <= v.Tags[i-1].Name {
			return fmt.Errorf("%w: tags are not usable or not in order", ErrRefused)
		}
	}
	return nil
}

// attestationLevels lists the levels from the weakest.
func attestationLevels() []string { return []string{"", "software", "tpm", "tee"} }

// Algorithms lists the algorithms that a key may have.
func Algorithms() []string {
	return []string{AES256, HMACSHA, Ed25519, ECDSAP256, RSA2048, RSA3072, RSA4096}
}

// loosens reports whether settings permit anything that old ones didn't.
func (v Settings) loosens(old Settings) bool {
	slower := v.Rotation == 0 && old.Rotation != 0 || v.Rotation > old.Rotation && old.Rotation != 0
	levels := attestationLevels()
	weaker := slices.Index(levels, v.Attestation) < slices.Index(levels, old.Attestation)
	return slower || weaker || v.Lease > old.Lease || v.Staleness > old.Staleness ||
		v.Exportable && !old.Exportable || !slices.Equal(v.Tags, old.Tags)
}

// leaseOut is the longest lease, in seconds from now on, that may be out: leases
// given under longer settings run to their end.
func (k *Key) leaseOut(now int64) uint64 {
	left := max(0, (k.leaseEnds-now+999)/1000)
	return max(k.Settings.Lease, uint64(left))
}

func object(id wire.KeyID) string { return "key:" + id.String() }

// edit prepares a change of a key: the effect works on a copy, which replaces
// the key.
func (s *State) edit(k *Key, apply func(*Key)) change {
	return change{object: object(k.ID), apply: func() {
		next := *s.keys[k.ID]
		next.Versions = slices.Clone(next.Versions)
		apply(&next)
		s.keys[k.ID] = &next
	}}
}

func (s *State) keyCreate(in input, p *KeyCreate) (change, error) {
	if !wire.ValidKeyName(p.Name) || p.ID == (wire.KeyID{}) || !usable(p.Revocation) || !slices.Contains(Algorithms(), p.Algorithm) {
		return refuse("the key's name, id or algorithm is not usable")
	}
	if err := p.Settings.Check(); err != nil {
		return change{}, err
	}
	if _, taken := s.names[p.Name]; taken || s.keys[p.ID] != nil {
		return refuse("a key named %s exists", p.Name)
	}
	return change{object: object(p.ID), quorum: p.Settings.Exportable, apply: func() {
		s.keys[p.ID] = &Key{
			ID: p.ID, Name: p.Name, Algorithm: p.Algorithm, Settings: p.Settings,
			Created: in.link.Time, Revocation: p.Revocation, Ordered: 1,
		}
		s.names[p.Name] = p.ID
	}}, nil
}

func (s *State) keySettings(in input, p *KeySettings) (change, error) {
	k := s.keys[p.ID]
	if k == nil {
		return refuse("no such key")
	}
	if err := p.Settings.Check(); err != nil {
		return change{}, err
	}
	ch := s.edit(k, func(k *Key) {
		k.leaseEnds = max(k.leaseEnds, in.link.Time+int64(k.Settings.Lease)*1000)
		k.Settings = p.Settings
	})
	ch.quorum = p.Settings.loosens(k.Settings)
	return ch, nil
}

// usable reports whether a revocation id may stand for one thing.
func usable(id wire.RevocationID) bool {
	return id != wire.RevocationID{} && id != wire.RevokeEverything
}

func (s *State) keyRotate(_ input, p *KeyRef) (change, error) {
	k := s.keys[p.ID]
	if k == nil {
		return refuse("no such key")
	}
	if uint64(len(k.Versions)) < k.Ordered {
		return refuse("a version that was ordered before is still to be made")
	}
	return s.edit(k, func(k *Key) { k.Ordered = uint64(len(k.Versions)) + 1 }), nil
}

// keyVersion is a server's: it holds only within what people ordered or the
// rotation period that they signed.
func (s *State) keyVersion(in input, p *KeyVersion) (change, error) {
	k := s.keys[p.ID]
	if k == nil || p.Number != uint64(len(k.Versions))+1 {
		return refuse("the version is not the key's next")
	}
	if p.Number > k.Ordered && !k.Due(in.link.Time) {
		return refuse("nobody ordered version %d, and it isn't due", p.Number)
	}
	// Security: a version sealed under an epoch that is being erased would die
	// with it; the server tries again under the new one (T-70).
	if p.ErasureEpoch != s.Erasure {
		return refuse("the version was made in erasure epoch %d, now it is %d", p.ErasureEpoch, s.Erasure)
	}
	if p.VC.IsZero() || !usable(p.Revocation) || p.RootGeneration != s.Members.Genesis.RootGeneration {
		return refuse("the version's commitment, revocation id or root generation is not usable")
	}
	return s.edit(k, func(k *Key) {
		for i := range k.Versions {
			if k.Versions[i].State == wire.StateActive {
				k.Versions[i].State = wire.StateDeactivated
			}
		}
		k.Versions = append(k.Versions, Version{KeyVersion: *p, State: wire.StateActive, Created: in.link.Time, BornIn: p.ErasureEpoch})
		k.Ordered = max(k.Ordered, p.Number)
	}), nil
}

// Due reports whether the rotation period has passed at a time in Unix
// milliseconds, so that a server may make the next version unasked. A key whose newest version
// is to be destroyed gets no further one unless people order it.
func (k *Key) Due(now int64) bool {
	if len(k.Versions) == 0 || k.Settings.Rotation == 0 {
		return false
	}
	newest := k.Versions[len(k.Versions)-1]
	ending := newest.DestroyAt != 0 || newest.State == wire.StateDestroyed
	return !ending && now >= newest.Created+int64(k.Settings.Rotation)*1000
}

func (s *State) keySwitch(in input, p *KeyRef) (change, error) {
	k := s.keys[p.ID]
	disable := in.body.Kind == KindKeyDisable
	if k == nil {
		return refuse("no such key")
	}
	if k.Disabled == disable {
		return refuse("key %s is already so", k.Name)
	}
	ch := s.edit(k, func(k *Key) { k.Disabled = disable })
	return change{object: ch.object, apply: func() {
		ch.apply()
		s.revoked = s.revoked.Set(disable, revoked.By(in.link, ch.object, k.Revocation, k.leaseOut(in.link.Time)))
	}}, nil
}

func (s *State) revokeVersion(k *Key, v *Version, add bool, link wire.Link) {
	of := fmt.Sprintf("%s/%d", object(k.ID), v.Number)
	s.revoked = s.revoked.Set(add, revoked.By(link, of, v.Revocation, k.leaseOut(link.Time)))
}

func (s *State) version(id wire.KeyID, number uint64) (*Key, *Version, error) {
	k := s.keys[id]
	if k == nil || k.Version(number) == nil {
		return nil, nil, fmt.Errorf("%w: no such key version", ErrRefused)
	}
	return k, k.Version(number), nil
}

func (s *State) keyCompromise(in input, p *VersionRef) (change, error) {
	k, v, err := s.version(p.ID, p.Number)
	if err != nil {
		return change{}, err
	}
	if v.State == wire.StateDestroyed || v.State == wire.StateCompromised {
		return refuse("version %d is %s", p.Number, v.State)
	}
	ch := s.edit(k, func(k *Key) { k.Versions[p.Number-1].State = wire.StateCompromised })
	return change{object: ch.object, apply: func() {
		ch.apply()
		s.revokeVersion(k, v, true, in.link)
	}}, nil
}

// keyDestroy stops all use at once and lets a server erase the version when the
// waiting time is over.
func (s *State) keyDestroy(in input, p *Destroy) (change, error) {
	k := s.keys[p.ID]
	if k == nil || p.Number > uint64(len(k.Versions)) || len(k.Versions) == 0 || p.Wait > MaxLease*12 {
		return refuse("no such key version, or a waiting time of more than a year")
	}
	ordered := func(v Version) bool {
		return (p.Number == 0 || v.Number == p.Number) && v.State != wire.StateDestroyed && v.DestroyAt == 0
	}
	if !slices.ContainsFunc(k.Versions, ordered) {
		return refuse("key %s has no version left to destroy", k.Name)
	}
	ch := s.edit(k, func(k *Key) {
		for i, v := range k.Versions {
			if ordered(v) {
				k.Versions[i].DestroyAt = in.link.Time + int64(p.Wait)*1000
			}
		}
	})
	return change{object: ch.object, apply: func() {
		for i := range k.Versions {
			if v := &k.Versions[i]; ordered(*v) {
				s.revokeVersion(k, v, true, in.link)
			}
		}
		ch.apply()
	}}, nil
}

func (s *State) keyKeep(in input, p *VersionRef) (change, error) {
	k, v, err := s.version(p.ID, p.Number)
	if err != nil {
		return change{}, err
	}
	if v.DestroyAt == 0 || v.State == wire.StateDestroyed {
		return refuse("version %d is not waiting to be destroyed", p.Number)
	}
	ch := s.edit(k, func(k *Key) { k.Versions[p.Number-1].DestroyAt = 0 })
	return change{object: ch.object, apply: func() {
		ch.apply()
		s.revokeVersion(k, v, v.State == wire.StateCompromised, in.link)
	}}, nil
}

// erasure ends versions whose order is due. It is a server's record, so it can
// only carry out what people ordered.
func (s *State) erasure(in input, p *Erasure) (change, error) {
	if p.Epoch != s.Erasure+1 || len(p.Versions) == 0 || len(p.Versions) > 4096 {
		return refuse("an erasure to epoch %d does not follow epoch %d", p.Epoch, s.Erasure)
	}
	moved := make(map[[16]byte][16]byte, len(p.Segments))
	for _, seg := range p.Segments {
		if _, twice := moved[seg.Old]; twice || seg.Old == [16]byte{} {
			return refuse("a segment is moved twice, or has no id")
		}
		moved[seg.Old] = seg.New
	}
	gone := map[wire.KeyID][]uint64{}
	for _, ref := range p.Versions {
		_, v, err := s.version(ref.ID, ref.Number)
		if err != nil {
			return change{}, err
		}
		if v.DestroyAt == 0 || v.DestroyAt > in.link.Time || v.State == wire.StateDestroyed || slices.Contains(gone[ref.ID], ref.Number) {
			return refuse("no due order to destroy version %d", ref.Number)
		}
		gone[ref.ID] = append(gone[ref.ID], ref.Number)
	}
	return change{object: "erasure", apply: func() { s.Switch = p.Switch; s.switchErasure(p.Epoch, gone, moved) }}, nil
}

func (s *State) switchErasure(epoch uint64, gone map[wire.KeyID][]uint64, moved map[[16]byte][16]byte) {
	s.Erasure = epoch
	for id, k := range s.keys {
		next := *k
		next.Versions = slices.Clone(k.Versions)
		for i := range next.Versions {
			v := &next.Versions[i]
			if slices.Contains(gone[id], v.Number) {
				v.State, v.ErasedIn, v.Segment = wire.StateDestroyed, epoch, [16]byte{}
			} else if to, ok := moved[v.Segment]; ok && v.State != wire.StateDestroyed {
				v.Segment, v.ErasureEpoch = to, epoch
			}
		}
		s.keys[id] = &next
	}
}

func (s *State) receipt(in input, p *Receipt) (change, error) {
	m, ok := s.Members.Server(p.Server)
	have, again := s.receipts[p.Server]
	if !ok || m.Status == members.StatusLeft || p.Server != in.link.Server || p.Epoch > s.Erasure ||
		again && p.Epoch <= have.Epoch || len(p.NextKey) != wire.PublicKeySize {
		return refuse("the erasure receipt is not this server's next")
	}
	return change{object: "server:" + p.Server.String(), apply: func() { s.receipts[p.Server] = *p }}, nil
}
