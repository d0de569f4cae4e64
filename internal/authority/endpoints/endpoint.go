// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"slices"
	"strings"

	"claviger/internal/authority/keyring"
	"claviger/internal/wire"
)

// Kinds of bodies about endpoints.
const (
	KindSet     = "endpoint.set"     // payload Set
	KindDisable = "endpoint.disable" // payload Disable
	KindEnable  = "endpoint.enable"  // payload Ref
	KindRemove  = "endpoint.remove"  // payload Ref
)

// Endpoint is one door: what it is, who is let in, and what it may touch.
type Endpoint struct {
	_           struct{}      `cbor:",toarray"`
	Name        string        // [a-z0-9][a-z0-9-]{0,62}: path prefix, and id in policies
	Kind        string        // of door: xks, vault, kacls, dke, salesforce, kes
	Host        string        // DNS name under which it answers at the root; "": only below /NAME
	Issuers     []Issuer      // of tokens
	Credentials []Credential  // shared secrets and registered keys
	ClientCAs   [][]byte      // DER roots; client certificates are then demanded under Host
	ClientNames []string      // subject common names or DNS names accepted; none: any under those roots
	Keys        []string      // key names, or folders ending in "/", that it may touch; none: whatever policy permits
	Rate        uint64        // requests a second; 0: the kind's default
	Options     []keyring.Tag // the kind's own settings, sorted by name

	Certificates []Certificate // of the other side, pinned
}

// Certificate is one of the other side whose public key counts, and nothing else of
// it: its name, its issuer and its end are for people.
type Certificate struct {
	_   struct{} `cbor:",toarray"`
	Use string   // the kind's own: what its key does
	DER []byte
}

// Issuer of tokens.
type Issuer struct {
	_        struct{} `cbor:",toarray"`
	URL      string   // what its tokens name: a URL, or another text if JWKS is set
	Audience string   // that tokens must name; "" where the kind has one of its own
	JWKS     string   // URL of its keys; "" = by discovery below URL
	Use      string   // the kind's own: "authentication", "authorization", "jwt", …; may be empty
}

// Credential is a secret that a caller knows, or a key that it has.
type Credential struct {
	_        struct{}  `cbor:",toarray"`
	ID       string    // public: access key id, token id, fingerprint
	Use      string    // the kind's own; may be empty
	Subject  string    // whom it names; "": ID does
	Material wire.Hash // of what lies in the slot (package material)
}

// Set makes an endpoint, or replaces all that is said of one.
type Set struct {
	_        struct{} `cbor:",toarray"`
	Endpoint Endpoint
	Reason   string
}

// Disable switches an endpoint off.
type Disable struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Revoke bool // then enabling it takes the quorum
	Reason string
}

// Ref names an endpoint.
type Ref struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Reason string
}

// State is what the log says of an endpoint. It never changes: the next change
// makes another one.
type State struct {
	_ struct{} `cbor:",toarray"`
	Endpoint
	Disabled bool
	Revoked  bool       // Disabled by a revocation
	Removed  bool       // only Name and Kind are left
	Set      wire.Epoch // of the record that last set it
	Created  int64      // Unix milliseconds of its first record
}

// Reaches reports whether the endpoint may touch a key at all, whatever policy says:
// Keys names it or a folder above it, or is empty.
func (e *Endpoint) Reaches(key string) bool {
	return len(e.Keys) == 0 || slices.ContainsFunc(e.Keys, func(k string) bool {
		return k == key || strings.HasSuffix(k, "/") && strings.HasPrefix(key, k)
	})
}

// Serves reports whether requests are answered. A nil State serves nothing.
func (s *State) Serves() bool { return s != nil && !s.Disabled && !s.Removed }

// IsKind reports whether a kind is about endpoints.
func IsKind(kind string) bool {
	return kind == KindSet || kind == KindDisable || kind == KindEnable || kind == KindRemove
}

// MaterialHash names what a credential is made of, where records can name it:
// Sum("endpoint-material", data). It stands in records that admins read, so it
// must not lead back: data is a random secret of 256 bits or more, or no secret
// at all, such as a public key; never a word that a person chose.
func MaterialHash(data []byte) wire.Hash { return wire.Sum("endpoint-material", data) }

// Object names an endpoint as an object of the log.
func Object(name string) string { return "endpoint:" + name }
