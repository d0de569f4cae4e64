// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"errors"
	"fmt"
	"slices"

	"claviger/internal/wire"
)

// Algorithms of keys.
const (
	AES256    = "aes256"
	HMACSHA   = "hmac-sha256"
	Ed25519   = "ed25519"
	ECDSAP256 = "ecdsa-p256"
	RSA2048   = "rsa-2048"
	RSA3072   = "rsa-3072"
	RSA4096   = "rsa-4096"
)

// Bounds and defaults of key settings, in seconds.
const (
	DefaultLease     = 3600
	DefaultStaleness = 900
	MinStaleness     = 60 // two statement intervals
	MaxLease         = 30 * 24 * 3600
	MinRotation      = 3600
	MaxRotation      = 20 * 366 * 24 * 3600
	MaxTags          = 32
)

// Tag is a label of a key that policies may read.
type Tag struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Value string
}

// Settings of a key.
type Settings struct {
	_           struct{} `cbor:",toarray"`
	Rotation    uint64   // seconds between versions; 0 = only on order
	Lease       uint64   // seconds a released key may be used
	Staleness   uint64   // seconds a statement may be old while the key is used
	Attestation string   // least level: "" (none), "software", "tpm", "tee"
	Exportable  bool
	Tags        []Tag // sorted by name
}

// DefaultSettings are those of a key about which people said nothing.
func DefaultSettings() Settings {
	return Settings{Lease: DefaultLease, Staleness: DefaultStaleness}
}

// Default reports whether settings are the default ones.
func (v Settings) Default() bool {
	return len(v.Tags) == 0 && v.Rotation == 0 && v.Lease == DefaultLease && v.Staleness == DefaultStaleness &&
		v.Attestation == "" && !v.Exportable
}

// KeyVersion is a server's record of a new version. VC commits to the key that
// the version stands for (docs/spec/hierarchy.md).
type KeyVersion struct {
	_              struct{} `cbor:",toarray"`
	ID             wire.KeyID
	Number         uint64
	RootGeneration uint64
	Segment        [16]byte
	ErasureEpoch   uint64
	VC             wire.Hash
	Stored         bool              // imported or stored material, not derived
	Revocation     wire.RevocationID // random
}

// Key is a key with its versions. What a [Ring] gives out is a copy; changing it
// changes nothing else.
type Key struct {
	ID         wire.KeyID
	Name       string
	Algorithm  string
	Settings   Settings
	Disabled   bool
	Versions   []Version // index = number-1
	Created    int64     // Unix milliseconds
	Revocation wire.RevocationID
	Ordered    uint64 // versions that people ordered: 1 by creation, more by rotation

	LeaseEnds int64     // Unix milliseconds: leases under earlier settings may run until then
	Body      wire.Hash // the newest person-signed body about the key: what the next one replaces
}

// Version of a key.
type Version struct {
	KeyVersion
	State     string // NIST SP 800-57 state: wire.StateActive, …
	Created   int64  // Unix milliseconds
	DestroyAt int64  // Unix milliseconds, 0 without an order
	ErasedIn  uint64 // erasure epoch that ended it, 0 if it lives
	BornIn    uint64 // erasure epoch it was made in; KeyVersion.ErasureEpoch is that of its segment
}

// Current returns the newest version that may seal, nil without one.
func (k *Key) Current() *Version {
	for i := len(k.Versions) - 1; i >= 0; i-- {
		if k.Versions[i].State == wire.StateActive && k.Versions[i].DestroyAt == 0 {
			return &k.Versions[i]
		}
	}
	return nil
}

// Version returns the version with this number, nil without one.
func (k *Key) Version(number uint64) *Version {
	if number == 0 || number > uint64(len(k.Versions)) {
		return nil
	}
	return &k.Versions[number-1]
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

// LeaseOut is the longest lease, in seconds from now on (Unix milliseconds), that
// may be out: leases given under longer settings run to their end.
func (k *Key) LeaseOut(now int64) uint64 {
	left := max(0, (k.LeaseEnds-now+999)/1000)
	return max(k.Settings.Lease, uint64(left))
}

// Check says what of settings is not within the bounds of this version, nil if
// nothing.
func (v Settings) Check() error {
	switch {
	case v.Rotation != 0 && (v.Rotation < MinRotation || v.Rotation > MaxRotation):
		return fmt.Errorf("the rotation period is not within %d and %d seconds", MinRotation, MaxRotation)
	case v.Lease == 0 || v.Lease > MaxLease:
		return fmt.Errorf("the lease is not within 1 and %d seconds", MaxLease)
	case v.Staleness < MinStaleness || v.Staleness > MaxLease:
		return fmt.Errorf("the staleness bound is under two statement intervals (%d seconds)", MinStaleness)
	case !slices.Contains(attestationLevels(), v.Attestation):
		return errors.New("unknown attestation level")
	case len(v.Tags) > MaxTags:
		return fmt.Errorf("more than %d tags", MaxTags)
	}
	for i, t := range v.Tags {
		if !wire.ValidNamePart(t.Name) || len(t.Value) > wire.MaxReason || i > 0 && t.Name <= v.Tags[i-1].Name {
			return errors.New("tags are not usable or not in order")
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

// Loosens reports whether settings permit anything that old ones didn't.
func (v Settings) Loosens(old Settings) bool {
	slower := v.Rotation == 0 && old.Rotation != 0 || v.Rotation > old.Rotation && old.Rotation != 0
	levels := attestationLevels()
	weaker := slices.Index(levels, v.Attestation) < slices.Index(levels, old.Attestation)
	return slower || weaker || v.Lease > old.Lease || v.Staleness > old.Staleness ||
		v.Exportable && !old.Exportable || !slices.Equal(v.Tags, old.Tags)
}
