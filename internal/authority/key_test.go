// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority/keyring"
	"claviger/internal/members"
	"claviger/internal/wire"
)

func TestSettingsBounds(t *testing.T) {
	tests := map[string]func(*Settings){
		"rotation under an hour":      func(s *Settings) { s.Rotation = keyring.MinRotation - 1 },
		"rotation without end":        func(s *Settings) { s.Rotation = math.MaxUint64 },
		"no lease":                    func(s *Settings) { s.Lease = 0 },
		"lease over a month":          func(s *Settings) { s.Lease = MaxLease + 1 },
		"staleness under two":         func(s *Settings) { s.Staleness = MinStaleness - 1 },
		"staleness over a month":      func(s *Settings) { s.Staleness = MaxLease + 1 },
		"unknown attestation":         func(s *Settings) { s.Attestation = "trust-me" },
		"a tag's name":                func(s *Settings) { s.Tags = []Tag{{Name: "A"}} },
		"a tag's value":               func(s *Settings) { s.Tags = []Tag{{Name: "a", Value: strings.Repeat("x", 257)}} },
		"tags twice":                  func(s *Settings) { s.Tags = []Tag{{Name: "a"}, {Name: "a"}} },
		"tags out of order":           func(s *Settings) { s.Tags = []Tag{{Name: "b"}, {Name: "a"}} },
		"more tags than anybody uses": func(s *Settings) { s.Tags = make([]Tag, keyring.MaxTags+1) },
	}
	if err := settings().Check(); err != nil {
		t.Fatal(err)
	}
	k := newKit(t)
	k.do(KindKeyCreate, createKey(9, "z"), k.ann)
	for name, edit := range tests {
		create := createKey(1, "a")
		edit(&create.Settings)
		if create.Settings.Check() == nil {
			t.Errorf("%s: the check says nothing", name)
		}
		k.refused(KindKeyCreate, create, ErrRefused, k.ann, k.bob, k.cyd)
		k.refused(KindKeySettings, KeySettings{ID: keyID(9), Settings: create.Settings}, ErrRefused, k.ann, k.bob, k.cyd)
	}
}

// TestLoosening changes one setting at a time, each way: what permits more takes
// the quorum.
func TestLoosening(t *testing.T) {
	base := Settings{Rotation: 7200, Lease: 600, Staleness: 600, Attestation: "tpm", Tags: []Tag{{Name: "a", Value: "1"}}}
	tests := []struct {
		name  string
		edit  func(*Settings)
		loose bool
	}{
		{"nothing", func(*Settings) {}, false},
		{"rotates more often", func(s *Settings) { s.Rotation = 3600 }, false},
		{"rotates less often", func(s *Settings) { s.Rotation = 7201 }, true},
		{"rotates never", func(s *Settings) { s.Rotation = 0 }, true},
		{"shorter lease", func(s *Settings) { s.Lease = 599 }, false},
		{"longer lease", func(s *Settings) { s.Lease = 601 }, true},
		{"shorter staleness", func(s *Settings) { s.Staleness = 599 }, false},
		{"longer staleness", func(s *Settings) { s.Staleness = 601 }, true},
		{"more attestation", func(s *Settings) { s.Attestation = "tee" }, false},
		{"less attestation", func(s *Settings) { s.Attestation = "software" }, true},
		{"no attestation", func(s *Settings) { s.Attestation = "" }, true},
		{"can be exported", func(s *Settings) { s.Exportable = true }, true},
		{"another tag", func(s *Settings) { s.Tags = []Tag{{Name: "a", Value: "2"}} }, true},
		{"one tag less", func(s *Settings) { s.Tags = nil }, true},
	}
	for _, test := range tests {
		next := base
		test.edit(&next)
		if next.Loosens(base) != test.loose {
			t.Errorf("%s: loosens is %t", test.name, !test.loose)
		}
	}
	never := base
	never.Rotation = 0
	if base.Loosens(never) {
		t.Error("to begin rotating counts as loosening")
	}
}

func TestKeyCreateRefuses(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	tests := map[string]func(*KeyCreate){
		"a name in use":            func(c *KeyCreate) { c.Name = "a" },
		"an id in use":             func(c *KeyCreate) { c.ID = keyID(1) },
		"no id":                    func(c *KeyCreate) { c.ID = wire.KeyID{} },
		"a name with capitals":     func(c *KeyCreate) { c.Name = "B" },
		"a name that climbs":       func(c *KeyCreate) { c.Name = "a/../b" },
		"an unknown algorithm":     func(c *KeyCreate) { c.Algorithm = "rot13" },
		"no revocation id":         func(c *KeyCreate) { c.Revocation = wire.RevocationID{} },
		"everything's revocation":  func(c *KeyCreate) { c.Revocation = wire.RevokeEverything },
		"a reason longer than 256": func(c *KeyCreate) { c.Reason = strings.Repeat("r", 257) },
	}
	for name, edit := range tests {
		c := createKey(2, "b")
		edit(&c)
		t.Log(name)
		k.refused(KindKeyCreate, c, ErrRefused, k.ann, k.bob)
	}
	if k.state().KeyCount() != 1 {
		t.Error("a refused key exists")
	}
}

func TestVersionsNeedAnOrderOrATime(t *testing.T) {
	k := newKit(t)
	create := createKey(1, "a")
	create.Settings.Rotation = 7200
	k.do(KindKeyCreate, create, k.ann)
	k.refused(KindKeyVersion, version(1, 2), ErrRefused, k.s1)
	k.refused(KindKeyVersion, version(7, 1), ErrRefused, k.s1)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.refused(KindKeyVersion, version(1, 1), ErrRefused, k.s1)
	k.refused(KindKeyVersion, version(1, 2), ErrRefused, k.s1)

	k.clock.Advance(7200*time.Second - time.Millisecond)
	k.refused(KindKeyVersion, version(1, 2), ErrRefused, k.s1)
	k.clock.Advance(time.Millisecond)
	k.do(KindKeyVersion, version(1, 2), k.s1)
	k.refused(KindKeyVersion, version(1, 3), ErrRefused, k.s1)

	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.bob)
	k.refused(KindKeyRotate, KeyRef{ID: keyID(1)}, ErrRefused, k.ann)
	k.do(KindKeyVersion, version(1, 3), k.s1)
	key := k.state().KeyNamed("a")
	states := []string{key.Versions[0].State, key.Versions[1].State, key.Versions[2].State}
	if !slices.Equal(states, []string{wire.StateDeactivated, wire.StateDeactivated, wire.StateActive}) || key.Current().Number != 3 {
		t.Errorf("states %v, current %d", states, key.Current().Number)
	}
	if key.Version(0) != nil || key.Version(4) != nil || key.Version(2).Number != 2 {
		t.Error("versions by number")
	}
}

func TestVersionRefuses(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	tests := map[string]func(*KeyVersion){
		"of another erasure epoch":  func(v *KeyVersion) { v.ErasureEpoch = 1 },
		"of another root":           func(v *KeyVersion) { v.RootGeneration = 2 },
		"without commitment":        func(v *KeyVersion) { v.VC = wire.Hash{} },
		"without revocation id":     func(v *KeyVersion) { v.Revocation = wire.RevocationID{} },
		"that revokes everything":   func(v *KeyVersion) { v.Revocation = wire.RevokeEverything },
		"with number zero":          func(v *KeyVersion) { v.Number = 0 },
		"with a number that jumped": func(v *KeyVersion) { v.Number = 2 },
	}
	for name, edit := range tests {
		v := version(1, 1)
		edit(&v)
		t.Log(name)
		k.refused(KindKeyVersion, v, ErrRefused, k.s1)
	}
}

func TestCompromise(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.refused(KindKeyCompromise, VersionRef{ID: keyID(1), Number: 2}, ErrRefused, k.ann)
	k.refused(KindKeyCompromise, VersionRef{ID: keyID(2), Number: 1}, ErrRefused, k.ann)
	k.do(KindKeyCompromise, VersionRef{ID: keyID(1), Number: 1}, k.ann)
	k.refused(KindKeyCompromise, VersionRef{ID: keyID(1), Number: 1}, ErrRefused, k.ann)
	key := k.state().Key(keyID(1))
	if key.Versions[0].State != wire.StateCompromised || key.Current() != nil || !k.isRevoked(version(1, 1).Revocation) {
		t.Errorf("after compromise: %+v", key.Versions[0])
	}
	// A later version leaves it compromised.
	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindKeyVersion, version(1, 2), k.s1)
	if key := k.state().Key(keyID(1)); key.Versions[0].State != wire.StateCompromised || key.Current().Number != 2 {
		t.Errorf("after the next version: %+v", key.Versions)
	}
}

func TestDestroy(t *testing.T) {
	k := newKit(t)
	create := createKey(1, "a")
	create.Settings.Rotation = 3600
	k.do(KindKeyCreate, create, k.ann)
	destroy := Destroy{ID: keyID(1), Wait: 60}
	k.refused(KindKeyDestroy, destroy, ErrRefused, k.ann, k.bob) // no version yet
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindKeyVersion, version(1, 2), k.s1)
	k.refused(KindKeyDestroy, Destroy{ID: keyID(1), Number: 3}, ErrRefused, k.ann, k.bob)
	k.refused(KindKeyDestroy, Destroy{ID: keyID(1), Wait: math.MaxUint64}, ErrRefused, k.ann, k.bob)
	k.refused(KindKeyDestroy, Destroy{ID: keyID(1), Number: math.MaxUint64}, ErrRefused, k.ann, k.bob)

	k.do(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1, Wait: 60}, k.ann, k.bob)
	if !k.isRevoked(version(1, 1).Revocation) || k.isRevoked(version(1, 2).Revocation) {
		t.Error("the order revokes another version than its own")
	}
	k.refused(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1}, ErrRefused, k.ann, k.bob)
	k.do(KindKeyDestroy, destroy, k.ann, k.bob) // what is left
	key := k.state().Key(keyID(1))
	if key.Current() != nil || key.Versions[1].DestroyAt != k.clock.Now().Add(time.Minute).UnixMilli() {
		t.Errorf("after the order: %+v", key.Versions)
	}
	// A key that is to be destroyed doesn't rotate back to life.
	k.clock.Advance(2 * time.Hour)
	k.refused(KindKeyVersion, version(1, 3), ErrRefused, k.s1)

	k.do(KindKeyKeep, VersionRef{ID: keyID(1), Number: 2}, k.bob, k.cyd)
	k.refused(KindKeyKeep, VersionRef{ID: keyID(1), Number: 2}, ErrRefused, k.bob, k.cyd)
	if key := k.state().Key(keyID(1)); key.Current().Number != 2 || k.isRevoked(version(1, 2).Revocation) {
		t.Errorf("kept: %+v", key.Versions[1])
	}
	k.do(KindKeyVersion, version(1, 3), k.s1)
}

func TestKeepLeavesCompromisedRevoked(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindKeyCompromise, VersionRef{ID: keyID(1), Number: 1}, k.ann)
	k.do(KindKeyDestroy, Destroy{ID: keyID(1)}, k.ann, k.bob)
	k.do(KindKeyKeep, VersionRef{ID: keyID(1), Number: 1}, k.ann, k.bob)
	if v := k.state().Key(keyID(1)).Versions[0]; v.State != wire.StateCompromised || !k.isRevoked(v.Revocation) {
		t.Errorf("kept: %+v", v)
	}
}

func TestErasure(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindKeyVersion, version(1, 2), k.s1)
	k.do(KindBackup, Backup{ID: wire.BodyID{1}, Server: k.s1.id(), HoldsEEK: true}, k.s1)
	k.do(KindBackup, Backup{ID: wire.BodyID{2}, Server: k.s1.id()}, k.s1)
	k.do(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1, Wait: 60}, k.ann, k.bob)

	one := VersionRef{ID: keyID(1), Number: 1}
	moves := []SegmentChange{{Old: [16]byte{1}, New: [16]byte{2}}}
	good := Erasure{Epoch: 1, Versions: []VersionRef{one}, Segments: moves, Switch: []byte("sw")}
	k.refused(KindErasure, good, ErrRefused, k.s1) // a second early
	k.clock.Advance(time.Minute)
	for name, edit := range map[string]func(*Erasure){
		"of the present epoch":        func(e *Erasure) { e.Epoch = 0 },
		"that skips an epoch":         func(e *Erasure) { e.Epoch = 2 },
		"of nothing":                  func(e *Erasure) { e.Versions = nil },
		"of what nobody ordered":      func(e *Erasure) { e.Versions = []VersionRef{one, {ID: keyID(1), Number: 2}} },
		"of one version twice":        func(e *Erasure) { e.Versions = []VersionRef{one, one} },
		"of an unknown version":       func(e *Erasure) { e.Versions = []VersionRef{{ID: keyID(1), Number: 9}} },
		"of an unknown key":           func(e *Erasure) { e.Versions = []VersionRef{{ID: keyID(9), Number: 1}} },
		"that moves a segment twice":  func(e *Erasure) { e.Segments = append(moves, moves...) },
		"that moves a nameless one":   func(e *Erasure) { e.Segments = []SegmentChange{{New: [16]byte{1}}} },
		"of more than a body can say": func(e *Erasure) { e.Versions = make([]VersionRef, 4097) },
	} {
		e := good
		edit(&e)
		t.Log(name)
		k.refused(KindErasure, e, ErrRefused, k.s1)
	}
	k.do(KindErasure, good, k.s1)
	s := k.state()
	key := s.Key(keyID(1))
	gone, kept := key.Versions[0], key.Versions[1]
	if s.Erasure != 1 || string(s.Switch) != "sw" || gone.State != wire.StateDestroyed || gone.ErasedIn != 1 || gone.Segment != [16]byte{} {
		t.Errorf("after the switch: %+v", gone)
	}
	if kept.State != wire.StateActive || kept.Segment != [16]byte{2} || kept.ErasureEpoch != 1 || kept.BornIn != 0 {
		t.Errorf("the survivor: %+v", kept)
	}
	k.refused(KindErasure, Erasure{Epoch: 2, Versions: []VersionRef{one}}, ErrRefused, k.s1)
	k.refused(KindKeyCompromise, one, ErrRefused, k.ann)
	k.refused(KindKeyKeep, one, ErrRefused, k.ann, k.bob)
	k.refused(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1}, ErrRefused, k.ann, k.bob)
	k.do(KindKeyRotate, KeyRef{ID: keyID(1)}, k.ann)
	k.refused(KindKeyVersion, version(1, 3), ErrRefused, k.s1) // made under the epoch that ended
}

func TestDestroyedExcept(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindBackup, Backup{ID: wire.BodyID{1}, Server: k.s1.id(), HoldsEEK: true}, k.s1)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindBackup, Backup{ID: wire.BodyID{2}, Server: k.s1.id()}, k.s1)
	two := newPerson("two")
	k.do(members.KindJoin, two.server(), k.ann, k.bob, two)
	k.do(members.KindFence, members.Fence{Server: two.id()}, k.ann)
	except := func() []string { return k.state().DestroyedExcept(k.state().Key(keyID(1)).Version(1)) }
	if got := except(); got != nil {
		t.Errorf("not destroyed, except %v", got)
	}
	k.do(KindKeyDestroy, Destroy{ID: keyID(1)}, k.ann, k.bob)
	k.do(KindErasure, Erasure{Epoch: 1, Versions: []VersionRef{{ID: keyID(1), Number: 1}}}, k.s1)
	late := newPerson("late") // joins when the epoch has ended: it never had its key
	k.do(members.KindJoin, late.server(), k.ann, k.bob, late)
	want := []string{"server s1", "server two", "backup " + wire.BodyID{1}.String()}
	if got := except(); !slices.Equal(got, want) {
		t.Errorf("except %v, want %v", got, want)
	}
	receipt := Receipt{Server: k.s1.id(), Epoch: 1, NextKey: append([]byte{1}, make([]byte, wire.PublicKeySize-1)...)}
	for name, edit := range map[string]func(*Receipt){
		"of another server":      func(r *Receipt) { r.Server = late.id() },
		"of an epoch to come":    func(r *Receipt) { r.Epoch = 2 },
		"without the next key":   func(r *Receipt) { r.NextKey = nil },
		"with a key of any size": func(r *Receipt) { r.NextKey = r.NextKey[1:] },
	} {
		r := receipt
		edit(&r)
		t.Log(name)
		k.refused(KindReceipt, r, ErrRefused, k.s1)
	}
	m, _ := k.state().Members.Server(k.s1.id())
	before := k.state().EpochKey(m)
	k.do(KindReceipt, receipt, k.s1)
	k.refused(KindReceipt, receipt, ErrRefused, k.s1)
	if after := k.state().EpochKey(m); slices.Equal(before, after) || after[0] != 1 {
		t.Error("the epoch key is not the receipt's")
	}
	if r, ok := k.state().Receipt(k.s1.id()); !ok || r.Epoch != 1 {
		t.Error("no receipt")
	}
	k.do(KindBackupGone, BackupGone{ID: wire.BodyID{1}}, k.ann, k.bob)
	k.refused(KindBackupGone, BackupGone{ID: wire.BodyID{1}}, ErrRefused, k.ann, k.bob)
	k.do(members.KindLeave, members.Fence{Server: two.id()}, k.ann, k.bob)
	if got := except(); len(got) != 0 {
		t.Errorf("all is erased, except %v", got)
	}
	if b := k.state().Backups(); len(b) != 1 || b[0].ID != (wire.BodyID{2}) {
		t.Errorf("backups: %+v", b)
	}
}

// TestBackupBeforeTheVersion can't hold it.
func TestBackupBeforeTheVersion(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyCreate, createKey(2, "b"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindBackup, Backup{ID: wire.BodyID{1}, Server: k.s1.id(), HoldsEEK: true}, k.s1)
	erase := func(n byte, epoch uint64) {
		k.do(KindKeyDestroy, Destroy{ID: keyID(n)}, k.ann, k.bob)
		k.do(KindErasure, Erasure{Epoch: epoch, Versions: []VersionRef{{ID: keyID(n), Number: 1}}}, k.s1)
		k.do(KindReceipt, Receipt{Server: k.s1.id(), Epoch: epoch, NextKey: make([]byte, wire.PublicKeySize)}, k.s1)
	}
	erase(1, 1)
	v := version(2, 1)
	v.ErasureEpoch = 1
	k.do(KindKeyVersion, v, k.s1)
	erase(2, 2)
	if got := k.state().DestroyedExcept(k.state().Key(keyID(2)).Version(1)); len(got) != 0 {
		t.Errorf("except %v, which was made an epoch before it", got)
	}
	if got := k.state().DestroyedExcept(k.state().Key(keyID(1)).Version(1)); len(got) != 1 {
		t.Errorf("except %v", got)
	}
}

func TestBackupsAndAnchorsRefuse(t *testing.T) {
	k := newKit(t)
	k.second()
	k.do(KindBackup, Backup{ID: wire.BodyID{1}, Server: k.s1.id()}, k.s1)
	k.refused(KindBackup, Backup{ID: wire.BodyID{1}, Server: k.s1.id()}, ErrRefused, k.s1)
	k.refused(KindBackup, Backup{Server: k.s1.id()}, ErrRefused, k.s1)
	k.refused(KindBackup, Backup{ID: wire.BodyID{2}, Server: k.s2.id()}, ErrRefused, k.s1)
	k.refused(KindBackup, Backup{ID: wire.BodyID{2}, Server: k.s1.id(), ErasureEpoch: 1}, ErrRefused, k.s1)

	at := func(log, size uint64, root byte) Anchor {
		return Anchor{Server: k.s1.id(), Checkpoint: wire.Checkpoint{Log: log, Size: size, Root: wire.Hash{root}}}
	}
	k.do(KindAnchor, at(1, 10, 1), k.s1)
	k.refused(KindAnchor, at(1, 9, 1), ErrRefused, k.s1)
	k.refused(KindAnchor, at(0, 99, 1), ErrRefused, k.s1)
	k.refused(KindAnchor, at(1, 10, 2), ErrRefused, k.s1)
	k.refused(KindAnchor, Anchor{Server: k.s2.id(), Checkpoint: wire.Checkpoint{Log: 5}}, ErrRefused, k.s1)
	k.do(KindAnchor, at(1, 10, 1), k.s1)
	k.do(KindAnchor, at(2, 0, 3), k.s1)
	if c, ok := k.state().Anchor(k.s1.id()); !ok || c.Log != 2 || len(k.state().Anchors()) != 1 {
		t.Errorf("anchor: %+v", c)
	}
}
