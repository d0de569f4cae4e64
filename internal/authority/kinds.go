// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"claviger/internal/authority/endpoints"
	"claviger/internal/authority/invites"
	"claviger/internal/authority/keyring"
	"claviger/internal/authority/secretring"
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

	KindEndpointSet     = endpoints.KindSet      // payload EndpointSet
	KindEndpointDisable = endpoints.KindDisable  // payload EndpointDisable
	KindEndpointEnable  = endpoints.KindEnable   // payload EndpointRef
	KindEndpointRemove  = endpoints.KindRemove   // payload EndpointRef
	KindSecret          = secretring.KindWritten // payload SecretWritten
)

// What the packages below hold of keys, invites, endpoints and secrets, for who reads
// the log and writes to it.
type (
	// Key is a key with its versions.
	Key = keyring.Key
	// Version of a key.
	Version = keyring.Version
	// Settings are what people set about a key.
	Settings = keyring.Settings
	// Tag is a label of a key that policies may read.
	Tag = keyring.Tag
	// KeyVersion is a server's record of a new version: payload of KindKeyVersion.
	KeyVersion = keyring.KeyVersion
	// KeyCreate makes a key; its first version follows in a record of a server.
	KeyCreate = keyring.Create
	// KeySettings replaces a key's settings.
	KeySettings = keyring.SetSettings
	// KeyRef names a key.
	KeyRef = keyring.Ref
	// VersionRef names a version.
	VersionRef = keyring.VersionRef
	// Destroy orders the destruction of versions.
	Destroy = keyring.Destroy

	// InviteRule lets one admin invite under a path without a quorum.
	InviteRule = invites.Rule
	// Invite permits one enrolment.
	Invite = invites.Invite
	// InviteState is an invite and whether it was used.
	InviteState = invites.State
	// Endpoint is a door for a foreign service, with its Issuers and Credentials.
	Endpoint = endpoints.Endpoint
	// Issuer of tokens that an endpoint takes.
	Issuer = endpoints.Issuer
	// Credential that an endpoint takes.
	Credential = endpoints.Credential
	// EndpointState is what the log says of an endpoint.
	EndpointState = endpoints.State
	// EndpointSet makes or replaces an endpoint.
	EndpointSet = endpoints.Set
	// EndpointDisable switches one off.
	EndpointDisable = endpoints.Disable
	// EndpointRef names one.
	EndpointRef = endpoints.Ref
	// Secret is what the log says of a versioned secret.
	Secret = secretring.Secret
	// SecretWritten is a server's record of a change: payload of KindSecret.
	SecretWritten = secretring.Written
)

// Algorithms of keys, bounds and defaults of their settings.
const (
	AES256    = keyring.AES256
	HMACSHA   = keyring.HMACSHA
	Ed25519   = keyring.Ed25519
	ECDSAP256 = keyring.ECDSAP256
	RSA2048   = keyring.RSA2048
	RSA3072   = keyring.RSA3072
	RSA4096   = keyring.RSA4096

	DefaultLease     = keyring.DefaultLease
	DefaultStaleness = keyring.DefaultStaleness
	MinStaleness     = keyring.MinStaleness
	MaxLease         = keyring.MaxLease
)

// Algorithms lists the algorithms that a key may have.
func Algorithms() []string { return keyring.Algorithms() }

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

// Enrolled is a server's record that an invite was used, or that a certificate
// was renewed (then the invite id is zero).
type Enrolled struct {
	_        struct{} `cbor:",toarray"`
	Invite   wire.BodyID
	Client   string
	Key      wire.Hash // KeyHash of the certificate's key
	NotAfter int64     // Unix milliseconds
}

// Subject names a client or an endpoint's subject (ENDPOINT:NAME), or nobody for
// the kinds that mean everything.
type Subject struct {
	_      struct{} `cbor:",toarray"`
	Client string
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
