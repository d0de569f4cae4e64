// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto"
	"fmt"
	"slices"
)

// Type strings of the release protocol.
const (
	TypeRequest = "claviger/v1/request" // inner and outer: the signature and the seal name it
	TypeRelease = "claviger/v1/release"
	TypeGrant   = "claviger/v1/grant"
)

// Limits of the release protocol.
const (
	MaxItems       = 64
	MaxEvidence    = 32 << 10
	MaxRequest     = 320 << 10 // a signed request: 64 items, evidence, statement, chain
	MaxSealedSize  = MaxRequest + 2<<10
	MaxRelease     = 256 << 10
	MaxRequestLife = 60 * 1000 // milliseconds from the server's now to a request's NotAfter

	MaxStanding     = 16                   // one-time keys of a standing request
	MaxStandingLife = 7 * 24 * 3600 * 1000 // milliseconds from the server's now to a request's Until
)

// Purposes of a leaf key.
const (
	PurposeData = "data"
	PurposeWrap = "wrap"
	PurposeMAC  = "mac"
	PurposeSign = "sign"
)

// Decisions of a grant's item.
const (
	DecisionAllowed = "allowed"
	DecisionDenied  = "denied" // also said of a key that isn't there, to whom may not list it
)

// Version states of NIST SP 800-57 part 1, section 7.
const (
	StatePreActive   = "pre-active"
	StateActive      = "active"
	StateDeactivated = "deactivated" // opens, never seals
	StateCompromised = "compromised"
	StateDestroyed   = "destroyed"
)

// Item is one key asked for.
type Item struct {
	_          struct{} `cbor:",toarray"`
	Name       string   // path name; "" if asked by id
	ID         []byte   // key id, 16 bytes; empty if asked by name
	Version    uint64   // 0 = the current one
	Purpose    string
	Partition  []byte
	Operations []string // "encrypt", "decrypt", …: what the key will be used for
}

// Request asks one server for leased keys. It is signed with the key of the
// client's certificate, the chain stapled, and sealed to one descriptor.
type Request struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeRequest
	Domain     DomainID
	Client     string // the client's SPIFFE id; the stapled leaf must name the same
	HPKE       []byte // one-time public key that the release is sealed to
	Items      []Item // 1 to 64
	Descriptor Hash   // DescriptorHash of the one it is sealed to
	Nonce      [32]byte
	Statement  []byte // newest signed statement that the client holds; empty if none
	NotAfter   int64  // Unix milliseconds, at most 60 s ahead
	Reason     string
	Evidence   []byte   // attestation evidence; empty without
	Mailbox    Hash     // MailboxID of the holder: one for each run of a client; zero without
	Standing   [][]byte // further one-time keys, each for one release ahead of need; at most 16
	Until      int64    // Unix milliseconds until which Standing is good; 0 without
}

// GrantItem answers the item of the same index.
type GrantItem struct {
	_          struct{} `cbor:",toarray"`
	KeyID      KeyID
	Name       string
	Version    uint64
	State      string
	Algorithm  string
	Purpose    string
	Partition  []byte
	Operations []string
	Decision   string         // DecisionAllowed or DecisionDenied
	KC         []byte         // key commitment, 32 bytes; empty if denied
	Reason     string         // why denied; empty if allowed
	Lease      uint32         // seconds from Issued, in server time
	Staleness  uint32         // seconds that a statement may be old while the key is used
	Revocation []RevocationID // of key, version and client
	AuditLog   uint64         // log number of the leaf that records this decision
	AuditIndex uint64         // its index there
}

// Grant is the signed inner part of a release; kept by the client, it is the
// receipt for the audit log. It holds no key.
type Grant struct {
	_       struct{} `cbor:",toarray"`
	Type    string   // TypeGrant
	Domain  DomainID
	Server  ServerID
	Client  string
	HPKE    Hash // Sum("hpke", one-time key)
	Request Hash // SealedHash of the sealed request
	Epoch   Epoch
	Head    Hash
	Members Hash
	Issued  int64 // Unix milliseconds
	Items   []GrantItem
}

// Release is what is sealed to the client: the signed grant, a key for each
// allowed item (32 bytes for derived keys), and the relay's next send token.
type Release struct {
	_         struct{} `cbor:",toarray"`
	Grant     []byte
	Keys      [][]byte // one per item; empty if denied
	SendToken []byte
}

// SealedHash names a sealed request: releases answer it, servers remember it.
func SealedHash(sealed []byte) Hash { return Sum("sealed", sealed) }

// DescriptorHash names a signed descriptor.
func DescriptorHash(signed []byte) Hash { return Sum("descriptor", signed) }

// HPKEHash names a one-time HPKE key.
func HPKEHash(public []byte) Hash { return Sum("hpke", public) }

// ReleaseInfo is the info that a release to this sealed request is sealed with.
func ReleaseInfo(request Hash) Hash { return Sum("release-info", request[:]) }

// ParseRequest reads the payload of a signed request.
func ParseRequest(payload []byte) (*Request, error) {
	var r Request
	if err := Unmarshal(payload, &r, MaxRequest); err != nil {
		return nil, err
	}
	ok := r.Type == TypeRequest && ValidID(r.Client) && len(r.HPKE) == PublicKeySize && len(r.Items) > 0 &&
		len(r.Items) <= MaxItems && len(r.Statement) <= MaxStatement && len(r.Reason) <= MaxReason &&
		len(r.Evidence) <= MaxEvidence && validTime(r.NotAfter) && r.standing()
	if !ok {
		return nil, fmt.Errorf("%w: request", ErrMalformed)
	}
	for _, item := range r.Items {
		if err := item.Check(); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// standing reports whether the part about releases ahead of need is well formed:
// a time exactly if there are keys, no key twice, and a mailbox to deliver to.
func (r *Request) standing() bool {
	if len(r.Standing) == 0 {
		return r.Until == 0
	}
	if len(r.Standing) > MaxStanding || !validTime(r.Until) || r.Mailbox.IsZero() {
		return false
	}
	for n, key := range r.Standing {
		same := func(k []byte) bool { return bytes.Equal(k, key) }
		if len(key) != PublicKeySize || bytes.Equal(key, r.HPKE) || slices.ContainsFunc(r.Standing[:n], same) {
			return false
		}
	}
	return true
}

// Check reports whether an item is well formed.
func (i Item) Check() error {
	byName := ValidKeyName(i.Name) && len(i.ID) == 0
	byID := i.Name == "" && len(i.ID) == 16
	ok := (byName || byID) && ValidPurpose(i.Purpose) && len(i.Partition) <= MaxPartition &&
		len(i.Operations) > 0 && len(i.Operations) <= 8
	if !ok {
		return fmt.Errorf("%w: item", ErrMalformed)
	}
	for n, op := range i.Operations {
		if !ValidNamePart(op) || len(op) > 32 || slices.Contains(i.Operations[:n], op) {
			return fmt.Errorf("%w: operation", ErrMalformed)
		}
	}
	return nil
}

// ValidPurpose reports whether p is a purpose of this version.
func ValidPurpose(p string) bool {
	return p == PurposeData || p == PurposeWrap || p == PurposeMAC || p == PurposeSign
}

// ParseGrant verifies a signed grant with the server's joined key and reads it.
func ParseGrant(signed []byte, key crypto.PublicKey) (*Grant, error) {
	var g Grant
	if err := openSigned(TypeGrant, signed, MaxRelease, key, &g); err != nil {
		return nil, err
	}
	return &g, g.check()
}

// PeekGrant reads a signed grant without believing it: to learn which server's
// key should verify it.
func PeekGrant(signed []byte) (*Grant, error) {
	var g Grant
	if err := peek(TypeGrant, signed, MaxRelease, &g); err != nil {
		return nil, err
	}
	return &g, g.check()
}

func (g *Grant) check() error {
	if g.Type != TypeGrant || !validTime(g.Issued) || len(g.Items) == 0 || len(g.Items) > MaxItems {
		return fmt.Errorf("%w: grant", ErrMalformed)
	}
	for _, item := range g.Items {
		allowed := item.Decision == DecisionAllowed && len(item.KC) == 32 && item.Reason == ""
		denied := item.Decision == DecisionDenied && len(item.KC) == 0
		if !allowed && !denied || len(item.Reason) > MaxReason || len(item.Revocation) > 8 {
			return fmt.Errorf("%w: grant item", ErrMalformed)
		}
	}
	return nil
}

// Encode returns the release in deterministic CBOR, in one array of its own: no
// copy of the keys is left in an encoder's pool, and the caller wipes this one.
func (r Release) Encode() []byte {
	const heads = 16 // of one element, and of the message's own fields
	size := len(r.Grant) + len(r.SendToken) + 4*heads
	for _, key := range r.Keys {
		size += len(key) + heads
	}
	// It must not grow: what it outgrew would keep the keys.
	out := bytes.NewBuffer(make([]byte, 0, size))
	if err := encoder().MarshalToBuffer(r, out); err != nil {
		panic("wire: type without an encoding: " + err.Error())
	}
	return out.Bytes()
}

// ParseRelease reads the opened inside of a release. The number of keys must be
// that of the grant's items, which the caller checks once it has the grant.
func ParseRelease(data []byte) (*Release, error) {
	var r Release
	if err := Unmarshal(data, &r, MaxRelease); err != nil {
		return nil, err
	}
	if len(r.Keys) > MaxItems || len(r.SendToken) > 64 {
		return nil, fmt.Errorf("%w: release", ErrMalformed)
	}
	return &r, nil
}
