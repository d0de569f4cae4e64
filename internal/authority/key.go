// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

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

const keyObject = "key:"

func object(id wire.KeyID) string { return keyObject + id.String() }

// keyOf is the id in an object's name, zero (which no key has) if that is no key's.
func keyOf(object string) (id wire.KeyID) {
	if text, ok := strings.CutPrefix(object, keyObject); ok && len(text) == hex.EncodedLen(len(id)) && strings.ToLower(text) == text {
		if raw, err := hex.DecodeString(text); err == nil {
			id = wire.KeyID(raw)
		}
	}
	return id
}

// edit prepares a change of a key: the effect works on what the key is by then.
func (s *State) edit(k *Key, apply func(*Key)) change {
	return change{object: object(k.ID), apply: func() {
		next := s.keys.Get(k.ID)
		apply(next)
		s.keys.Put(next)
	}}
}

func (s *State) keyCreate(in input, p *KeyCreate) (change, error) {
	if !wire.ValidKeyName(p.Name) || p.ID == (wire.KeyID{}) || !usable(p.Revocation) || !slices.Contains(Algorithms(), p.Algorithm) {
		return refuse("the key's name, id or algorithm is not usable")
	}
	if err := p.Settings.Check(); err != nil {
		return refuse("%s", err)
	}
	// Security: a server makes keys for callers whom policy permits it, and decides
	// nothing about them: else it could hand out long leases or exports (T-38).
	if len(in.admins) == 0 && !p.Settings.Default() {
		return change{}, fmt.Errorf("%w: a key with settings of its own takes an admin's", members.ErrThreshold)
	}
	if s.keys.Named(p.Name) != nil || s.keys.Has(p.ID) {
		return refuse("a key named %s exists", p.Name)
	}
	return change{object: object(p.ID), quorum: p.Settings.Exportable, apply: func() {
		s.keys.Put(&Key{
			ID: p.ID, Name: p.Name, Algorithm: p.Algorithm, Settings: p.Settings,
			Created: in.link.Time, Revocation: p.Revocation, Ordered: 1,
		})
	}}, nil
}

func (s *State) keySettings(in input, p *KeySettings) (change, error) {
	k := s.keys.Get(p.ID)
	if k == nil {
		return refuse("no such key")
	}
	if err := p.Settings.Check(); err != nil {
		return refuse("%s", err)
	}
	ch := s.edit(k, func(k *Key) {
		k.LeaseEnds = max(k.LeaseEnds, in.link.Time+int64(k.Settings.Lease)*1000)
		k.Settings = p.Settings
	})
	ch.quorum = p.Settings.Loosens(k.Settings)
	return ch, nil
}

// usable reports whether a revocation id may stand for one thing.
func usable(id wire.RevocationID) bool {
	return id != wire.RevocationID{} && id != wire.RevokeEverything
}

func (s *State) keyRotate(_ input, p *KeyRef) (change, error) {
	k := s.keys.Get(p.ID)
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
	k := s.keys.Get(p.ID)
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

func (s *State) keySwitch(in input, p *KeyRef) (change, error) {
	k := s.keys.Get(p.ID)
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
		s.revoked = s.revoked.Set(disable, revoked.By(in.link, ch.object, k.Revocation, k.LeaseOut(in.link.Time)))
	}}, nil
}

func (s *State) revokeVersion(k *Key, v *Version, add bool, link wire.Link) {
	of := fmt.Sprintf("%s/%d", object(k.ID), v.Number)
	s.revoked = s.revoked.Set(add, revoked.By(link, of, v.Revocation, k.LeaseOut(link.Time)))
}

func (s *State) version(id wire.KeyID, number uint64) (*Key, *Version, error) {
	k := s.keys.Get(id)
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
	k := s.keys.Get(p.ID)
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
	s.keys.Update(func(k *Key) (changed bool) {
		for i := range k.Versions {
			v := &k.Versions[i]
			if slices.Contains(gone[k.ID], v.Number) {
				v.State, v.ErasedIn, v.Segment, changed = wire.StateDestroyed, epoch, [16]byte{}, true
			} else if to, ok := moved[v.Segment]; ok && v.State != wire.StateDestroyed {
				v.Segment, v.ErasureEpoch, changed = to, epoch, true
			}
		}
		return changed
	})
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
