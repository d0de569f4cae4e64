// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Code is a gRPC status code.
type Code int

// The codes that are used here, by their numbers in the gRPC specification.
const (
	OK                 Code = 0
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	NotOffered         Code = 12 // the specification has another word for it
	Internal           Code = 13
	Unavailable        Code = 14
)

// maxText bounds what a status says.
const maxText = 512

// Error is a refusal that the caller hears.
type Error struct {
	Code Code
	Text string // no secret, nothing of another caller
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// asError is what the caller hears of an error.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(DeadlineExceeded, "the call took too long")
	case errors.Is(err, context.Canceled):
		return Errorf(Canceled, "the call was given up")
	}
	return Errorf(Internal, "this could not be done")
}

// escape writes a text as grpc-message wants it: what is not printable ASCII, and
// the percent sign, as %XX.
func escape(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 0x20 && c <= 0x7e && c != '%' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}
