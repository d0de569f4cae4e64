// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"errors"
	"fmt"

	"claviger/client/internal/trust"
	"claviger/internal/transport"
)

var (
	// ErrUnavailable means that no server gave an answer that counts. What a server
	// says unsigned is in the error's text and not to be relied on.
	ErrUnavailable = errors.New("no server gave an answer")
	// ErrSendToken means that a relay or directory takes nothing from this client: it
	// has no send token, or rested for so long that its last one is of no use. Ask a
	// server at its own address once, or enrol with a new invite. It comes with
	// ErrUnavailable.
	ErrSendToken = errors.New("the relay takes nothing without a send token of the domain: ask a server at its own address once, or enroll with a new invite")
	// ErrNeedsDirect means that a call can't go over relays and directories: give
	// the profile the host:port of a server.
	ErrNeedsDirect = errors.New("this needs a server's own address: add its host:port to the profile's addresses")
)

// Unavailable marks an error of the way to a server.
func Unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// What honest servers and carriers don't cause has these ranks.
const rankRollback, rankIntegrity = 3, 4

// rank orders errors of several servers by how much the caller has to know of
// them.
func rank(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, trust.ErrIntegrity):
		return rankIntegrity
	case errors.Is(err, trust.ErrRollback):
		return rankRollback
	case errors.Is(err, ErrUnavailable):
		return 1
	}
	return 2
}

// Worse returns the error that the caller has to know of more, the first of equals:
// integrity before rollback before all else before unavailability.
func Worse(a, b error) error {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// refusedStatus reports an unsigned refusal that a new introduction or another
// time in the request might cure.
func refusedStatus(err error) (status int, ok bool) {
	refusal, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return 0, false
	}
	return refusal.Status, true
}
