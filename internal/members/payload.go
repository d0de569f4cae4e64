// SPDX-License-Identifier: Apache-2.0

package members

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"claviger/internal/wire"
)

// Kinds of bodies that make up the member chain.
const (
	KindGenesis  = "genesis"
	KindKeys     = "members.keys"     // payload Keys
	KindJoin     = "members.join"     // payload Server
	KindFence    = "members.fence"    // payload Fence
	KindUnfence  = "members.unfence"  // payload Fence
	KindLeave    = "members.leave"    // payload Fence
	KindRestore  = "members.restore"  // payload Restore
	KindAnchors  = "members.anchors"  // payload Anchors
	KindRecovery = "members.recovery" // payload Recovery
	KindRecover  = "members.recover"  // payload Keys
)

// KindRecoverBegin announces a recovery (payload Keys). It stands in the log
// and is no link of the chain: only servers know when it was said.
const KindRecoverBegin = "members.recover.wait"

// Bounds of a domain's membership.
const (
	MaxKeys    = 16 // authority keys
	MaxServers = 16 // servers that have not left
	MaxAnchors = 8
	maxRoots   = 8

	// MaxRecoveryWait bounds Recovery.Wait, in seconds: a year.
	MaxRecoveryWait = 366 * 24 * 3600

	// reserved are the last bytes of the chain, kept for who holds the keys:
	// else one admin could fill the chain with fences and so freeze the keys.
	reserved = 16 << 10
)

// Key is the public half of an admin's authority key.
type Key struct {
	_      struct{} `cbor:",toarray"`
	Name   string   // admin's name, one part of [a-z0-9._-]
	Public []byte   // PKIX SubjectPublicKeyInfo in DER: Ed25519 or ECDSA P-256
}

// Keys replaces the authority keys and their threshold.
type Keys struct {
	_         struct{} `cbor:",toarray"`
	Keys      []Key
	Threshold uint64 // signatures that make a quorum, 1 to len(Keys)
}

// Recovery names the recovery quorum, which may only replace authority keys.
type Recovery struct {
	_         struct{} `cbor:",toarray"`
	Keys      []Key
	Threshold uint64 // 0 with no keys: there is none
	Wait      uint64 // seconds between announcing a recovery and its taking effect
}

// Server is a join entry. Servers are named by it, never by a certificate.
type Server struct {
	_        struct{} `cbor:",toarray"`
	Name     string
	Key      []byte // signing key, PKIX DER, Ed25519
	EpochKey []byte // public HPKE key of the erasure epoch at joining, 1216 bytes
}

// Anchor is a trust anchor: a certificate authority and the names it speaks for.
type Anchor struct {
	_             struct{} `cbor:",toarray"`
	Name          string
	Prefix        string   // SPIFFE prefix, such as spiffe://NAME/workload/ ; prefixes are disjoint
	Embedded      bool     // the domain's own CA, whose key derives from the root
	Roots         [][]byte // certificates in DER; none if embedded
	Intermediates [][]byte
	NeedCRL       bool // a leaf counts only with a fresh revocation list of its issuer
}

// Anchors replaces the trust anchors.
type Anchors struct {
	_       struct{} `cbor:",toarray"`
	Anchors []Anchor
}

// Fence names a server to fence, un-fence or let go.
type Fence struct {
	_      struct{} `cbor:",toarray"`
	Server wire.ServerID
	Reason string // at most wire.MaxReason bytes
}

// Restore raises the generation: the log goes on from Head at Epoch.
type Restore struct {
	_          struct{} `cbor:",toarray"`
	Generation uint64
	Epoch      wire.Epoch
	Head       wire.Hash
	Reason     string // at most wire.MaxReason bytes
}

// Genesis founds a trust domain.
type Genesis struct {
	_              struct{} `cbor:",toarray"`
	Random         [32]byte
	Name           string // display name and SPIFFE trust domain
	Demo           bool   // accepted in demo mode only
	Strict         bool   // backups carry no erasure-epoch key
	Keys           Keys
	Recovery       Recovery
	Anchors        []Anchor
	Server         Server
	RootGeneration uint64    // 1
	Root           wire.Hash // fingerprint of the root secret
}

// PublicKey reads the admin's key.
func (k Key) PublicKey() (crypto.PublicKey, error) { return parseKey(k.Public) }

// Hash is the key id that signatures with this key carry: wire.KeyHash of it, if
// it is a key at all.
func (k Key) Hash() wire.Hash { return sha256.Sum256(k.Public) }

// PublicKey reads the server's signing key.
func (s Server) PublicKey() (crypto.PublicKey, error) { return parseKey(s.Key) }

// ID of the server: from its signing key.
func (s Server) ID() wire.ServerID {
	pub, err := s.PublicKey()
	if err != nil {
		return wire.ServerID{}
	}
	return wire.ServerIDOf(pub)
}

// parseKey takes a key in its one encoding: the hash of these bytes is then the
// key id that signatures carry.
func parseKey(der []byte) (crypto.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil || wire.KeyHash(pub) != sha256.Sum256(der) {
		return nil, fmt.Errorf("%w: a key is neither Ed25519 nor ECDSA P-256", ErrChain)
	}
	return pub, nil
}

// Check reports whether a key set can work: names and keys are each used once,
// and the threshold can be met.
func (k Keys) Check() error {
	if len(k.Keys) == 0 || len(k.Keys) > MaxKeys || k.Threshold == 0 || k.Threshold > uint64(len(k.Keys)) {
		return fmt.Errorf("%w: %d authority keys with threshold %d", ErrChain, len(k.Keys), k.Threshold)
	}
	return checkKeys(k.Keys)
}

// Check reports whether a recovery quorum can work, or is absent.
func (r Recovery) Check() error {
	if r.Wait > MaxRecoveryWait {
		return fmt.Errorf("%w: a recovery's waiting time is over a year", ErrChain)
	}
	if len(r.Keys) == 0 && r.Threshold == 0 {
		return nil
	}
	if len(r.Keys) > MaxKeys || r.Threshold == 0 || r.Threshold > uint64(len(r.Keys)) {
		return fmt.Errorf("%w: %d recovery keys with threshold %d", ErrChain, len(r.Keys), r.Threshold)
	}
	return checkKeys(r.Keys)
}

func checkKeys(keys []Key) error {
	names, seen := map[string]bool{}, map[wire.Hash]bool{}
	for _, key := range keys {
		pub, err := key.PublicKey()
		if err != nil {
			return err
		}
		hash := wire.KeyHash(pub)
		if !wire.ValidNamePart(key.Name) || names[key.Name] || seen[hash] {
			return fmt.Errorf("%w: an authority key's name is not usable, or a name or key stands twice", ErrChain)
		}
		names[key.Name], seen[hash] = true, true
	}
	return nil
}

func (s Server) check() error {
	pub, err := s.PublicKey()
	if err != nil {
		return err
	}
	if _, ok := pub.(ed25519.PublicKey); !ok || !wire.ValidNamePart(s.Name) || len(s.EpochKey) != wire.PublicKeySize {
		return fmt.Errorf("%w: join entry", ErrChain)
	}
	return nil
}

// checkAnchors holds that names are single and prefixes disjoint, so that one
// name never has two authorities. Domain is the genesis's name: the embedded CA
// speaks for all of it and nothing else. As far as names go, pki.NewVerifier
// takes whatever is accepted here. Certificates are not parsed here: readers
// built with other versions of a parser would disagree on what the chain says.
func checkAnchors(anchors []Anchor, domain string) error {
	if len(anchors) > MaxAnchors {
		return fmt.Errorf("%w: more than %d trust anchors", ErrChain, MaxAnchors)
	}
	for i, a := range anchors {
		if err := a.check(domain); err != nil {
			return err
		}
		for _, b := range anchors[:i] {
			if a.Name == b.Name || strings.HasPrefix(a.Prefix, b.Prefix) || strings.HasPrefix(b.Prefix, a.Prefix) {
				return fmt.Errorf("%w: trust anchors %q and %q overlap", ErrChain, b.Name, a.Name)
			}
		}
	}
	return nil
}

func (a Anchor) check(domain string) error {
	certs := len(a.Roots) + len(a.Intermediates)
	if !wire.ValidNamePart(a.Name) {
		return fmt.Errorf("%w: a trust anchor's name", ErrChain)
	}
	if !wire.ValidPrefix(a.Prefix) || certs > maxRoots || a.Embedded && certs > 0 || !a.Embedded && len(a.Roots) == 0 {
		return fmt.Errorf("%w: trust anchor %s", ErrChain, a.Name)
	}
	if a.Embedded && a.Prefix != "spiffe://"+domain+"/workload/" {
		return fmt.Errorf("%w: the embedded authority speaks for spiffe://%s/workload/ and nothing else", ErrChain, domain)
	}
	for _, c := range slices.Concat(a.Roots, a.Intermediates) {
		if len(c) == 0 || len(c) > wire.MaxCertificate {
			return fmt.Errorf("%w: a certificate of trust anchor %s", ErrChain, a.Name)
		}
	}
	return nil
}
