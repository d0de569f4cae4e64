// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/x509"
	"errors"
	"time"
)

// ErrUntrusted is in every error of [Verifier.Verify]. Callers branch on it and
// on nothing else; the [Reason] is for people.
var ErrUntrusted = errors.New("untrusted certificate")

// Reason says why a chain was refused. The text is stable and short enough for
// a log field or a counter's label.
type Reason string

// Reasons of [UntrustedError].
const (
	Malformed      Reason = "malformed chain"
	TooLarge       Reason = "chain too large"
	LeafIsCA       Reason = "leaf is a CA"
	WrongKey       Reason = "key type not accepted"
	WrongUsage     Reason = "leaf lacks digitalSignature"
	WrongEKU       Reason = "not for client authentication"
	NoName         Reason = "no single SPIFFE name"
	NoAnchor       Reason = "no trust anchor speaks for this name"
	UnknownCA      Reason = "no path to the anchor's roots"
	Expired        Reason = "expired"
	NotYetValid    Reason = "not yet valid"
	NameConstraint Reason = "name outside the CA's constraints"
	PathLength     Reason = "too many CAs for the path length"
	Lifetime       Reason = "lifetime too long for this anchor"
	Revoked        Reason = "revoked"
	NoCRL          Reason = "no revocation list of the issuer"
	StaleCRL       Reason = "revocation list out of date"
)

// UntrustedError is what [Verifier.Verify] returns. It matches [ErrUntrusted].
type UntrustedError struct {
	Reason Reason
	// Detail says more where there is more to say: a time, the id, the field.
	// It holds nothing from the chain that didn't pass a strict check.
	Detail string
}

// Error gives "untrusted certificate: REASON" and the detail in brackets.
func (e *UntrustedError) Error() string {
	s := ErrUntrusted.Error() + ": " + string(e.Reason)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// Is makes errors.Is(err, ErrUntrusted) true.
func (e *UntrustedError) Is(target error) bool { return target == ErrUntrusted }

func untrusted(reason Reason, detail string) error {
	return &UntrustedError{Reason: reason, Detail: detail}
}

// pathReason turns the error of x509.Certificate.Verify into ours. The text of
// x509 is dropped: it quotes subjects, which anybody can write.
func pathReason(err error, now time.Time) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return untrusted(UnknownCA, "")
	}
	switch invalid.Reason {
	case x509.Expired:
		if now.Before(invalid.Cert.NotBefore) {
			return untrusted(NotYetValid, "from "+invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		return untrusted(Expired, invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case x509.CANotAuthorizedForThisName, x509.CANotAuthorizedForExtKeyUsage:
		return untrusted(NameConstraint, "")
	case x509.TooManyIntermediates:
		return untrusted(PathLength, "")
	case x509.IncompatibleUsage:
		return untrusted(WrongEKU, "a CA of the chain does not allow it")
	default:
		return untrusted(UnknownCA, "")
	}
}
