// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto"
	"fmt"
)

// Type strings of enrolment and renewal.
const (
	TypeInvite   = "claviger/v1/invite"
	TypeEnroll   = "claviger/v1/enroll"
	TypeRenew    = "claviger/v1/renew"
	TypeEnrolled = "claviger/v1/enrolled"
)

// Limits.
const (
	maxInvite  = 2 << 10
	MaxCSR     = 4 << 10
	MaxEnroll  = 256 << 10 // a renewal staples a chain
	invitePref = "clv1_"
)

// Invite lets one workload enrol once. It travels as one line of text and is a
// secret until used. Members tells the newcomer which member chain to expect.
type Invite struct {
	_         struct{} `cbor:",toarray"`
	Type      string   // TypeInvite
	Domain    DomainID
	Members   Hash
	Addresses []string // host:port of servers or relay URLs, in order of preference
	SendToken []byte   // first send token at a relay; empty without
	ID        BodyID
	Seed      []byte // Ed25519 seed, 32 bytes; empty under an outside CA
	Client    string // SPIFFE id that the certificate will name
	Expires   int64  // Unix milliseconds, at most one hour after it was made
}

// Enroll asks for the first certificate. It is signed by the invite's key and
// by the CSR's, and sealed to a verified descriptor.
type Enroll struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeEnroll
	Domain     DomainID
	Invite     BodyID
	CSR        []byte // PKCS #10 in DER; only its key counts
	HPKE       []byte // one-time key that the answer is sealed to
	Descriptor Hash
	Nonce      [32]byte
	NotAfter   int64 // Unix milliseconds, at most 60 s ahead
}

// Renew asks for a further certificate for the same SPIFFE id. It is signed by
// the current certificate's key, its chain stapled, and carries a second
// signature by the CSR's key.
type Renew struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeRenew
	Domain     DomainID
	Client     string
	CSR        []byte
	HPKE       []byte
	Descriptor Hash
	Nonce      [32]byte
	NotAfter   int64
}

// Enrolled answers Enroll and Renew, signed by the joined server key and sealed
// to the request's one-time key.
type Enrolled struct {
	_       struct{} `cbor:",toarray"`
	Type    string   // TypeEnrolled
	Domain  DomainID
	Server  ServerID
	Client  string
	Request Hash // SealedHash of the sealed request
	Epoch   Epoch
	Head    Hash
	Members Hash
	Issued  int64    // Unix milliseconds
	Chain   [][]byte // DER, leaf first; empty if refused
	Reason  string   // why refused; empty if not
}

// Text renders the invite as one line.
func (i Invite) Text() string {
	return FormatText(invitePref, Marshal(i))
}

// ParseInvite reads the line that Text made. Its error never repeats the input.
func ParseInvite(text string) (*Invite, error) {
	data, err := ParseText(invitePref, text, 2*maxInvite)
	if err != nil {
		return nil, fmt.Errorf("read the invite: %w", err)
	}
	var i Invite
	if err := Unmarshal(data, &i, maxInvite); err != nil {
		return nil, fmt.Errorf("%w: invite is cut or changed", ErrMalformed)
	}
	seed := len(i.Seed) == 32 || len(i.Seed) == 0
	if i.Type != TypeInvite || !seed || !ValidID(i.Client) || len(i.Addresses) > 16 || !validTime(i.Expires) {
		return nil, fmt.Errorf("%w: invite", ErrMalformed)
	}
	return &i, nil
}

// ParseEnroll reads the payload of a signed enrolment.
func ParseEnroll(payload []byte) (*Enroll, error) {
	var e Enroll
	if err := Unmarshal(payload, &e, MaxEnroll); err != nil {
		return nil, err
	}
	if e.Type != TypeEnroll || len(e.CSR) > MaxCSR || len(e.HPKE) != PublicKeySize || !validTime(e.NotAfter) {
		return nil, fmt.Errorf("%w: enrolment", ErrMalformed)
	}
	return &e, nil
}

// ParseRenew reads the payload of a signed renewal.
func ParseRenew(payload []byte) (*Renew, error) {
	var r Renew
	if err := Unmarshal(payload, &r, MaxEnroll); err != nil {
		return nil, err
	}
	if r.Type != TypeRenew || !ValidID(r.Client) || len(r.CSR) > MaxCSR || len(r.HPKE) != PublicKeySize || !validTime(r.NotAfter) {
		return nil, fmt.Errorf("%w: renewal", ErrMalformed)
	}
	return &r, nil
}

// ParseEnrolled verifies a signed answer with the server's joined key and reads
// it.
func ParseEnrolled(signed []byte, key crypto.PublicKey) (*Enrolled, error) {
	var e Enrolled
	if err := openSigned(TypeEnrolled, signed, MaxEnroll, key, &e); err != nil {
		return nil, err
	}
	return &e, e.check()
}

// PeekEnrolled reads an answer without believing it.
func PeekEnrolled(signed []byte) (*Enrolled, error) {
	var e Enrolled
	if err := peek(TypeEnrolled, signed, MaxEnroll, &e); err != nil {
		return nil, err
	}
	return &e, e.check()
}

func (e *Enrolled) check() error {
	issued := len(e.Chain) > 0 && len(e.Chain) <= MaxChain && e.Reason == ""
	refused := len(e.Chain) == 0 && e.Reason != "" && len(e.Reason) <= MaxReason
	if e.Type != TypeEnrolled || !validTime(e.Issued) || !issued && !refused {
		return fmt.Errorf("%w: enrolment answer", ErrMalformed)
	}
	return nil
}
