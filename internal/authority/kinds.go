// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"time"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// Kinds of bodies besides the member chain's (package members).
const (
	KindConfirm       = "admin.confirm"          // payload Confirm
	KindPolicy        = "policy.set"             // payload Policy
	KindInviteRule    = "client.invite-rule"     // payload InviteRule
	KindInvite        = "client.invite"          // payload Invite
	KindEnrolled      = "client.enrolled"        // payload Enrolled
	KindClientRevoke  = "client.revoke"          // payload Subject
	KindClientEnable  = "client.enable"          // payload Subject
	KindKeyCreate     = "key.create"             // payload KeyCreate
	KindKeySettings   = "key.settings"           // payload KeySettings
	KindKeyRotate     = "key.rotate"             // payload KeyRef
	KindKeyVersion    = "key.version"            // payload KeyVersion
	KindKeyDisable    = "key.disable"            // payload KeyRef
	KindKeyEnable     = "key.enable"             // payload KeyRef
	KindKeyCompromise = "key.compromise"         // payload VersionRef
	KindKeyDestroy    = "key.destroy"            // payload Destroy
	KindKeyKeep       = "key.keep"               // payload VersionRef: takes a destruction order back
	KindRevokeAll     = "domain.revoke"          // payload Subject with an empty id
	KindEnableAll     = "domain.enable"          // payload Subject with an empty id
	KindErasure       = "erasure.switch"         // payload Erasure
	KindReceipt       = "erasure.receipt"        // payload Receipt
	KindBackup        = "backup.made"            // payload Backup
	KindBackupGone    = "backup.gone"            // payload BackupGone
	KindAnchor        = "audit.anchor"           // payload Anchor
	KindRecoverBegin  = members.KindRecoverBegin // payload members.Keys
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
	maxTags          = 32
)

// MaxInviteLife is how long an invite may be used, counted from its record.
const MaxInviteLife = time.Hour

const (
	inviteSlack  = 5 * time.Minute // for the clock of the admin who made it
	inviteMemory = 24 * time.Hour  // how long an invite is kept when it is over
)

// Confirm is an admin's first signature, for who has nothing else to sign: it
// shows that the key named in the genesis is in the hands of who should have it.
type Confirm struct {
	_     struct{} `cbor:",toarray"`
	Admin string
}

// Policy replaces the policy set.
type Policy struct {
	_      struct{} `cbor:",toarray"`
	Source []byte   // Cedar text
	Reason string
}

// InviteRule lets one admin invite under a path without a quorum.
type InviteRule struct {
	_      struct{} `cbor:",toarray"`
	Admin  string
	Prefix string // path prefix after /workload/, ending in "/" or empty for all
	Remove bool
}

// Invite permits one enrolment.
type Invite struct {
	_       struct{}    `cbor:",toarray"`
	ID      wire.BodyID // random
	Client  string      // SPIFFE id
	Key     []byte      // Ed25519 public key of the invite's seed, 32 bytes
	Expires int64       // Unix milliseconds, at most MaxInviteLife after the record
}

// Enrolled is a server's record that an invite was used, or that a certificate
// was renewed (then the invite id is zero).
type Enrolled struct {
	_        struct{} `cbor:",toarray"`
	Invite   wire.BodyID
	Client   string
	Key      wire.Hash // KeyHash of the certificate's key
	NotAfter int64     // Unix milliseconds
}

// Subject names a client, or nobody for the kinds that mean everything.
type Subject struct {
	_      struct{} `cbor:",toarray"`
	Client string
	Reason string
}

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

// KeyCreate makes a key; its first version follows in a record of a server.
type KeyCreate struct {
	_          struct{} `cbor:",toarray"`
	ID         wire.KeyID
	Name       string
	Algorithm  string
	Settings   Settings
	Revocation wire.RevocationID // random
	Reason     string
}

// KeySettings replaces a key's settings.
type KeySettings struct {
	_        struct{} `cbor:",toarray"`
	ID       wire.KeyID
	Settings Settings
	Reason   string
}

// KeyRef names a key.
type KeyRef struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Reason string
}

// VersionRef names a version.
type VersionRef struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Number uint64
	Reason string
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

// Destroy orders the destruction of a version, or of all versions of a key
// (Number 0), at the earliest Wait seconds after the order's record.
type Destroy struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.KeyID
	Number uint64
	Wait   uint64
	Reason string
}

// SegmentChange says which segment a version moves to when an erasure epoch
// switches.
type SegmentChange struct {
	_        struct{} `cbor:",toarray"`
	Old, New [16]byte
}

// Erasure is the switch to an erasure epoch. From then on the versions listed
// are gone, except to who holds an older erasure-epoch key.
type Erasure struct {
	_        struct{} `cbor:",toarray"`
	Epoch    uint64   // the new one
	Versions []VersionRef
	Segments []SegmentChange
	Switch   []byte // the switch in the encoding of package hierarchy: what each server needs to follow
}

// Receipt is a server's word that it erased the epoch before Epoch.
type Receipt struct {
	_       struct{} `cbor:",toarray"`
	Server  wire.ServerID
	Epoch   uint64
	ID      [16]byte // random id of that epoch
	Waiting bool     // it has erased the old key and waits for the new one
	NextKey []byte   // public HPKE key of its epoch Epoch, 1216 bytes
}

// Backup lists a backup that was made.
type Backup struct {
	_            struct{} `cbor:",toarray"`
	ID           wire.BodyID
	Server       wire.ServerID
	ErasureEpoch uint64
	HoldsEEK     bool // false in strict mode: the backup can't open what its epoch seals
}

// BackupGone is an admin's word that every copy of a backup is destroyed.
type BackupGone struct {
	_      struct{} `cbor:",toarray"`
	ID     wire.BodyID
	Reason string
}

// Anchor fixes a checkpoint of a server's audit log.
type Anchor struct {
	_          struct{} `cbor:",toarray"`
	Server     wire.ServerID
	Checkpoint wire.Checkpoint
}
