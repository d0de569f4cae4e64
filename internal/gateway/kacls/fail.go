// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
)

// failure is an error of the API: shown to the user, so it holds nothing of a token,
// a rule or a key.
type failure struct {
	status  int
	message string
	details string
}

func (f *failure) Error() string { return f.message + ": " + f.details }

func invalid(details string) *failure {
	return &failure{http.StatusBadRequest, "Invalid request", details}
}

func forbidden(details string) *failure {
	return &failure{http.StatusForbidden, "Access denied", details}
}

// failureOf words an error as the API does (its "structured errors").
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch gateway.FailureOf(err) {
	case gateway.Malformed:
		return invalid("a member is missing, malformed or too long")
	case gateway.MediaType:
		return &failure{http.StatusUnsupportedMediaType, "Invalid request", "the body is JSON"}
	case gateway.Unauthenticated:
		return &failure{http.StatusUnauthorized, "Not authenticated", "a token is missing, has ended, or is of nobody who is trusted for this"}
	case gateway.Denied:
		return forbidden("policy does not permit it")
	case gateway.Revoked:
		return forbidden("the user, or everything, is revoked")
	case gateway.KeyOff:
		return forbidden("the key is disabled")
	case gateway.EndpointOff:
		return forbidden("the key service is switched off")
	case gateway.KeyState, gateway.Refused:
		return forbidden("the key or its version is not in a state for this")
	case gateway.NoRoute:
		return &failure{http.StatusNotFound, "Not found", "there is no such operation"}
	case gateway.NoMethod:
		return &failure{http.StatusMethodNotAllowed, "Method not allowed", "operations take POST; status and certs take GET"}
	case gateway.TooLarge:
		return &failure{http.StatusRequestEntityTooLarge, "Invalid request", "the request is too large"}
	case gateway.TooMany, gateway.Busy:
		return &failure{http.StatusTooManyRequests, "Too many requests", "again in a second"}
	case gateway.TooSlow, gateway.Unavailable, gateway.Sealed:
		return &failure{http.StatusServiceUnavailable, "Unavailable", "the key server is sealed, or could not answer in time"}
	}
	return &failure{http.StatusInternalServerError, "Internal error", "the key server could not do this"}
}

// Fail writes an error. A page of Google's may read it.
func (d *door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	body, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Details string `json:"details"`
	}{f.status, f.message, f.details}) // scalars can't fail
	h := w.Header()
	for name, values := range d.shared(r) {
		h[name] = values
	}
	if f.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, POST, OPTIONS")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // whoever asked has gone
}
