// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

// failure is an error of the API.
type failure struct {
	status  int
	name    string
	message string // for the customer's log: at most 512 bytes of printable ASCII, nothing secret
}

func (f *failure) Error() string { return f.name + ": " + f.message }

func invalid(message string) *failure {
	return &failure{http.StatusBadRequest, "ValidationException", message}
}

// failureOf words an error as the API does (its section "Error codes").
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch gateway.FailureOf(err) {
	case gateway.Malformed, gateway.MediaType:
		return invalid("the body is not what this operation takes")
	case gateway.Unauthenticated:
		return &failure{http.StatusUnauthorized, "AuthenticationFailedException", "the request is not signed with a live credential of this key store"}
	case gateway.Denied:
		return &failure{http.StatusForbidden, "AccessDeniedException", denial(err)}
	case gateway.Revoked:
		return &failure{http.StatusForbidden, "AccessDeniedException", "the caller, or everything, is revoked"}
	case gateway.KeyOff:
		return &failure{http.StatusBadRequest, "InvalidStateException", "the external key is disabled"}
	case gateway.EndpointOff:
		return &failure{http.StatusBadRequest, "InvalidStateException", "the external key store is switched off"}
	case gateway.KeyState, gateway.Refused:
		return &failure{http.StatusBadRequest, "InvalidStateException", "the external key or its version is not in a state for this"}
	case gateway.NoRoute:
		return &failure{http.StatusNotFound, "InvalidUriPathException", "there is no such path"}
	case gateway.NoMethod:
		return &failure{http.StatusMethodNotAllowed, "InvalidUriPathException", "the API takes POST"}
	case gateway.TooLarge:
		return &failure{http.StatusNotImplemented, "UnsupportedOperationException", "the request is larger than this proxy takes"}
	case gateway.TooMany, gateway.Busy:
		return &failure{http.StatusTooManyRequests, "ThrottlingException", "more requests than this key store takes"}
	case gateway.TooSlow, gateway.Unavailable, gateway.Sealed:
		return &failure{http.StatusServiceUnavailable, "DependencyTimeoutException", "the key server is sealed, or could not answer in time"}
	}
	return &failure{http.StatusInternalServerError, "InternalException", "the proxy could not do this"}
}

// denial tells the customer's own people which rule it was.
func denial(err error) string {
	const most = 400
	text := "policy does not permit it"
	if d, ok := errors.AsType[*keyserver.Denial](err); ok && d.Reason != "" {
		text += ": " + d.Reason
	}
	out := make([]byte, 0, min(len(text), most))
	for i := 0; i < len(text) && len(out) < most; i++ {
		if b := text[i]; b >= 0x20 && b <= 0x7e {
			out = append(out, b)
		}
	}
	return string(out)
}

// Fail writes an error.
func (d *door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	body, _ := json.Marshal(struct {
		Name    string `json:"errorName"`
		Message string `json:"errorMessage"`
	}{f.name, f.message}) // two texts can't fail
	if f.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // whoever asked has gone
}
