// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"

	"claviger/internal/authn"
	"claviger/internal/keyserver"
)

// Errors of the gateway itself, besides those of keyserver and authn.
var (
	ErrTooLarge  = errors.New("the request is too large")
	ErrTimeout   = errors.New("the request took too long")
	ErrNotFound  = errors.New("there is nothing here")
	ErrMethod    = errors.New("this is not done with this method")
	ErrMediaType = errors.New("the body has another content type than this takes")
	ErrRate      = errors.New("more requests than this endpoint takes")
	ErrOff       = errors.New("this endpoint is switched off")
	ErrBody      = errors.New("the body is malformed") // of a foreign format; a keyserver.ErrMalformed by its meaning
	ErrInternal  = errors.New("the server could not do this")
)

// Failure is what went wrong, for doors to give their protocol's own error. Each
// door has a table over all of them.
type Failure int

// Failures. Whatever fits none is Internal.
const (
	Internal        Failure = iota // say nothing of it; the log does
	Malformed                      // the caller's input
	Unauthenticated                // no credential, a wrong one, one that has ended
	Denied                         // by policy; a key that isn't there looks the same
	KeyOff                         // the key is disabled
	KeyState                       // the key's, or the version's, state forbids it
	Revoked                        // the caller or the endpoint is revoked
	EndpointOff                    // the endpoint is switched off
	Refused                        // it can't be done in this state
	NoRoute                        // no such path
	NoMethod                       // the path, but not with this method
	MediaType                      // the body's
	TooLarge                       // the body
	TooSlow                        // the request, or the answer
	TooMany                        // requests of this endpoint; again in a second
	Busy                           // the server, or refusals of this caller; again in a second
	Unavailable                    // log or store can't be written: nothing is answered; say nothing of why
	Sealed                         // the server
	Failures                       // how many there are
)

// FailureOf sorts an error.
func FailureOf(err error) Failure {
	if d, ok := errors.AsType[*keyserver.Denial](err); ok {
		switch d.Cause {
		case keyserver.CauseDisabled:
			return KeyOff
		case keyserver.CauseState:
			return KeyState
		case keyserver.CauseRevoked:
			return Revoked
		}
		return Denied
	}
	for _, row := range failures() {
		if errors.Is(err, row.err) {
			return row.failure
		}
	}
	return Internal
}

type failureRow struct {
	err     error
	failure Failure
}

// failures is searched in order: what is more certain stands first.
func failures() []failureRow {
	return []failureRow{
		{ErrTooLarge, TooLarge}, {ErrTimeout, TooSlow}, {ErrNotFound, NoRoute}, {ErrMethod, NoMethod}, {ErrMediaType, MediaType},
		{ErrRate, TooMany}, {ErrOff, EndpointOff}, {ErrBody, Malformed}, {ErrInternal, Internal},
		{keyserver.ErrSealed, Sealed}, {keyserver.ErrUnavailable, Unavailable}, {authn.ErrAway, Unavailable}, {keyserver.ErrBusy, Busy}, {authn.ErrBusy, Busy},
		{authn.ErrRevoked, Revoked}, {keyserver.ErrUnproved, Unauthenticated}, {authn.ErrRefused, Unauthenticated},
		{keyserver.ErrDenied, Denied}, {keyserver.ErrNotFound, Denied}, {keyserver.ErrRefused, Refused}, {keyserver.ErrMalformed, Malformed},
		{context.DeadlineExceeded, TooSlow}, {context.Canceled, TooSlow},
	}
}

// printable is at most n bytes of a text in one line.
func printable(s string, n int) string {
	out := make([]byte, 0, min(len(s), n))
	for i := 0; i < len(s) && len(out) < n; i++ {
		b := s[i]
		if b < 0x20 || b > 0x7e {
			b = '?'
		}
		out = append(out, b)
	}
	return string(out)
}
