// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"slices"
)

// Elements of the arrays of a row. A row is
//
//	[id, name, algorithm, settings, disabled, created, revocation, ordered,
//	 lease ends, body, [*version]]
//	settings = [rotation, lease, staleness, attestation, exportable, [*[tag name, tag value]]]
//	version  = [number, root generation, segment, erasure epoch, vc, stored, revocation,
//	            state, created, destroy at, erased in, born in]
//
// A version's key id is its key's.
const (
	keyElements      = 11
	settingsElements = 6
	versionElements  = 12
)

// pack encodes a key as a row.
func pack(k *Key) string {
	p := packer{make([]byte, 0, 128+128*len(k.Versions))}
	p.array(keyElements)
	p.bytes(k.ID[:])
	p.text(k.Name)
	p.text(k.Algorithm)
	p.settings(&k.Settings)
	p.bool(k.Disabled)
	p.int(k.Created)
	p.bytes(k.Revocation[:])
	p.uint(k.Ordered)
	p.int(k.LeaseEnds)
	p.bytes(k.Body[:])
	p.array(len(k.Versions))
	for i := range k.Versions {
		p.version(&k.Versions[i])
	}
	return string(p.out)
}

func (p *packer) settings(v *Settings) {
	p.array(settingsElements)
	p.uint(v.Rotation)
	p.uint(v.Lease)
	p.uint(v.Staleness)
	p.text(v.Attestation)
	p.bool(v.Exportable)
	p.array(len(v.Tags))
	for _, t := range v.Tags {
		p.array(2)
		p.text(t.Name)
		p.text(t.Value)
	}
}

func (p *packer) version(v *Version) {
	p.array(versionElements)
	p.uint(v.Number)
	p.uint(v.RootGeneration)
	p.bytes(v.Segment[:])
	p.uint(v.ErasureEpoch)
	p.bytes(v.VC[:])
	p.bool(v.Stored)
	p.bytes(v.Revocation[:])
	p.text(v.State)
	p.int(v.Created)
	p.int(v.DestroyAt)
	p.uint(v.ErasedIn)
	p.uint(v.BornIn)
}

// key reads one row into k, whose lists are used again if they are large enough.
func (u *unpacker) key(k *Key) {
	u.array(keyElements)
	u.bytes(k.ID[:])
	k.Name = u.text()
	k.Algorithm = u.text()
	u.settings(&k.Settings)
	k.Disabled = u.bool()
	k.Created = u.int()
	u.bytes(k.Revocation[:])
	k.Ordered = u.uint()
	k.LeaseEnds = u.int()
	u.bytes(k.Body[:])
	n := u.list(versionElements)
	k.Versions = slices.Grow(k.Versions[:0], n)[:n]
	for i := range k.Versions {
		k.Versions[i].ID = k.ID
		u.version(&k.Versions[i])
	}
}

// leaseIn is the Settings.Lease of a row of a Ring.
func leaseIn(row string) uint64 {
	u := unpacker{in: row}
	u.array(keyElements)
	var id [16]byte
	u.bytes(id[:])
	u.text() // name
	u.text() // algorithm
	u.array(settingsElements)
	u.uint() // rotation
	return u.uint()
}

func (u *unpacker) settings(v *Settings) {
	u.array(settingsElements)
	v.Rotation, v.Lease, v.Staleness = u.uint(), u.uint(), u.uint()
	v.Attestation = u.text()
	v.Exportable = u.bool()
	n := u.list(3)
	v.Tags = slices.Grow(v.Tags[:0], n)[:n]
	for i := range v.Tags {
		u.array(2)
		v.Tags[i].Name, v.Tags[i].Value = u.text(), u.text()
	}
}

func (u *unpacker) version(v *Version) {
	u.array(versionElements)
	v.Number, v.RootGeneration = u.uint(), u.uint()
	u.bytes(v.Segment[:])
	v.ErasureEpoch = u.uint()
	u.bytes(v.VC[:])
	v.Stored = u.bool()
	u.bytes(v.Revocation[:])
	v.State = u.text()
	v.Created, v.DestroyAt = u.int(), u.int()
	v.ErasedIn, v.BornIn = u.uint(), u.uint()
}
