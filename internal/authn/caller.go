// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"claviger/internal/pki"
	"claviger/internal/wire"
)

// Errors of every verifier here.
var (
	// ErrRefused means: not authenticated, for whatever reason.
	ErrRefused = errors.New("not authenticated")
	// ErrRevoked means that the caller proved its name and that name is revoked.
	ErrRevoked = errors.New("revoked")
	// ErrBusy means that the signer made more requests than are remembered
	// against replay (HTTP 429); nothing is wrong with this one.
	ErrBusy = errors.New("too many requests of this key")
	// ErrAway means that the credential can't be judged now, since what its issuer
	// publishes is neither known nor to be had (HTTP 503).
	ErrAway = errors.New("the credential's issuer can't be reached")
)

// Kind is the kind of caller.
type Kind int

// Kinds. The zero value is never proved.
const (
	Unknown  Kind = iota
	Workload      // named by a certificate
	Admin         // named by the authority log
	Recovery      // a holder of the recovery quorum: reads the log and replaces authority keys, nothing else
	Local         // the server itself
	Subject       // whom the credential of an endpoint names
)

// String names the kind as policies do.
func (k Kind) String() string {
	switch k {
	case Workload:
		return "Workload"
	case Admin:
		return "Admin"
	case Recovery:
		return "Recovery"
	case Local:
		return "Local"
	case Subject:
		return "Subject"
	default:
		return "Unknown"
	}
}

// Caller is who asks. Only this package makes callers that are Proved; a copy
// stays proved, a literal never is.
type Caller struct {
	Kind Kind
	// ID is a workload's whole SPIFFE id, an admin's name in the authority log,
	// "recovery/" and the name of a holder of the recovery quorum, "local/" and a
	// name, or "ENDPOINT:NAME" of a subject. Policies, budgets and audit leaves use it.
	ID string
	// Attributes are what the credential itself proved, under the names of the
	// policy schema: "spiffe" and "path" of a workload, "key" (hex) of a person,
	// "kind" and those of [SubjectAttributes] of a subject. What was not proved is
	// absent.
	Attributes map[string]any
	// Endpoint and EndpointKind are a subject's: name and kind of the endpoint
	// whose credential it has.
	Endpoint, EndpointKind string
	// Chain is a workload's chain as it was sent (DER, leaf first).
	Chain [][]byte
	// Key is the hash of the key that signed: the certificate's, the authority
	// key's, or the session's.
	Key wire.Hash
	// ReadOnly marks a person who came with a session key: reads, nothing else.
	ReadOnly bool
	// NotAfter is when the credential ends. A cached Caller is void from then.
	NotAfter time.Time

	proved bool
}

// Proved says whether a verifier of this package made c. The choke point
// refuses any other caller.
func (c *Caller) Proved() bool { return c != nil && c.proved && c.Kind != Unknown }

// LocalCaller is the server's own process: health checks, renewal of its own
// state, never a way in for a request.
func LocalCaller(name string) *Caller {
	return &Caller{Kind: Local, ID: "local/" + name, proved: true}
}

// ChainVerifier judges certificate chains; *pki.Verifier does.
type ChainVerifier interface {
	Verify(chain [][]byte, now time.Time) (*pki.Identity, error)
}

// Revocations knows which callers are revoked by name.
type Revocations interface {
	Revoked(id string) bool
}

// RevokedFunc makes Revocations of a function, such as the authority state's
// ClientRevoked.
type RevokedFunc func(id string) bool

// Revoked calls f.
func (f RevokedFunc) Revoked(id string) bool { return f(id) }

// Trust is what one state of the authority log says about callers.
type Trust struct {
	Domain      wire.DomainID
	Chains      ChainVerifier
	Revocations Revocations
}

// FromTLS makes a Caller of the client certificate of a finished TLS 1.3
// handshake, in which the client has proved that it holds the leaf's key.
func (t Trust) FromTLS(state *tls.ConnectionState, now time.Time) (*Caller, error) {
	if state == nil || !state.HandshakeComplete || state.Version < tls.VersionTLS13 {
		return nil, refused("no finished TLS 1.3 handshake")
	}
	if len(state.PeerCertificates) == 0 {
		return nil, refused("no client certificate")
	}
	chain := make([][]byte, 0, len(state.PeerCertificates))
	for _, c := range state.PeerCertificates {
		chain = append(chain, c.Raw)
	}
	caller, _, err := t.workload(chain, now)
	return caller, err
}

// workload judges a chain and asks whether its name is revoked.
func (t Trust) workload(chain [][]byte, now time.Time) (*Caller, *pki.Identity, error) {
	id, err := t.Chains.Verify(chain, now)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if t.Revocations.Revoked(id.ID) {
		return nil, nil, fmt.Errorf("%w: %w: %s", ErrRefused, ErrRevoked, id.ID)
	}
	attributes := map[string]any{"spiffe": id.ID}
	if id.Path != "" {
		attributes["path"] = id.Path
	}
	return &Caller{
		Kind: Workload, ID: id.ID, Attributes: attributes, Chain: chain,
		Key: wire.KeyHash(id.Leaf.PublicKey), NotAfter: id.NotAfter, proved: true,
	}, id, nil
}

func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }
