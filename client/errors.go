// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"fmt"

	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
	"claviger/client/internal/ways"
)

// Errors that a program may want to tell apart with errors.Is. Those of package
// envelope (ErrFormat, ErrNoKey, ErrIntegrity) come through as they are.
var (
	// ErrIntegrity means that a server or relay sent what no honest one sends. No
	// key of that answer was used. Keep the profile: it may hold proof.
	ErrIntegrity = trust.ErrIntegrity
	// ErrFork means that two signed messages contradict each other on the domain's
	// history; both are in the profile's proofs directory. It is an ErrIntegrity.
	ErrFork = trust.ErrFork
	// ErrRollback means that a server showed an older state than one seen before.
	ErrRollback = trust.ErrRollback
	// ErrStale means that a key is at hand, but no word of a server is recent
	// enough for it to be used, and none could be had.
	ErrStale = trust.ErrStale
	// ErrDemo means that a demo domain met a real profile, or the reverse.
	ErrDemo = trust.ErrDemo
	// ErrUnavailable means that no server gave an answer that counts. What a
	// server says unsigned is in the error's text and not to be relied on.
	ErrUnavailable = ways.ErrUnavailable
	// ErrSendToken means that a relay or directory takes nothing from this client: it
	// has no send token, or rested for so long that its last one is of no use. Ask a
	// server at its own address once, or enrol with a new invite. It comes with
	// ErrUnavailable.
	ErrSendToken = ways.ErrSendToken
	// ErrNeedsDirect means that a call can't go over relays and directories: give
	// the profile the host:port of a server.
	ErrNeedsDirect = ways.ErrNeedsDirect
	// ErrUnexpectedKey means that a ciphertext, or a server's answer, is of another
	// key or partition than the ones named.
	ErrUnexpectedKey = keep.ErrUnexpectedKey
	// ErrNoExpectation means that a call to open something named no key and didn't
	// ask for AnyKey.
	ErrNoExpectation = errors.New("name the keys that may open this, or ask for any key")
	// ErrCompromised means that the ciphertext is of a key version that is marked
	// as compromised: what it says may have been written by somebody else.
	ErrCompromised = errors.New("the key version is compromised")
	// ErrRevoked is in the tree of a DeniedError that says that client or key is
	// revoked.
	ErrRevoked = errors.New("revoked")
	// ErrInvite means that an invite is malformed, expired or refused.
	ErrInvite = errors.New("invite is not usable")
	// ErrExists means that there is a profile already.
	ErrExists = errors.New("there is a profile already")
	// ErrNotFound means that there is no profile.
	ErrNotFound = errors.New("there is no profile")
	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("client is closed")
)

// DeniedError says that a server's signed answer, or its answer over the pinned
// connection, was no. Asking another server won't help.
type DeniedError struct {
	Client    string // SPIFFE id of who asked
	Operation string // "encrypt", "decrypt", "enroll", …
	Key       string // name, or id if no name is known for it; empty for an enrolment
	Reason    string // in the server's words, such as "no policy allows it"
}

// Error gives one sentence with all of it.
func (e *DeniedError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s may not %s: %s", e.Client, e.Operation, e.Reason)
	}
	return fmt.Sprintf("%s may not %s with key %s: %s", e.Client, e.Operation, e.Key, e.Reason)
}

func isDenied(err error) bool {
	_, denied := errors.AsType[*DeniedError](err)
	return denied
}

// Is makes errors.Is(err, ErrRevoked) true for the reasons that mean it.
func (e *DeniedError) Is(target error) bool {
	return target == ErrRevoked && (e.Reason == "the client is revoked" || e.Reason == "everything is revoked")
}
