// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

// failure is a status. Salesforce looks at nothing else; the words are for people
// who read logs.
type failure struct {
	status  int
	message string
}

func (f *failure) Error() string { return f.message }

var errReplay = &failure{http.StatusConflict, "this request id was answered before"}

func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch gateway.FailureOf(err) {
	case gateway.Malformed, gateway.MediaType:
		return &failure{http.StatusBadRequest, "the request is malformed"}
	case gateway.Unauthenticated:
		return &failure{http.StatusUnauthorized, "no credential of Salesforce's that this endpoint trusts"}
	case gateway.Denied, gateway.Revoked:
		return &failure{http.StatusForbidden, "policy does not permit it"}
	case gateway.KeyOff:
		return &failure{http.StatusForbidden, "the key is disabled"}
	case gateway.EndpointOff:
		return &failure{http.StatusForbidden, "the endpoint is switched off"}
	case gateway.KeyState, gateway.Refused:
		return gone(err)
	case gateway.NoRoute:
		return &failure{http.StatusNotFound, "there is no such path"}
	case gateway.NoMethod:
		return &failure{http.StatusMethodNotAllowed, "keys are fetched with GET"}
	case gateway.TooLarge:
		return &failure{http.StatusRequestEntityTooLarge, "the request is too large"}
	case gateway.TooMany, gateway.Busy:
		return &failure{http.StatusTooManyRequests, "too many requests"}
	case gateway.TooSlow, gateway.Unavailable, gateway.Sealed:
		return &failure{http.StatusServiceUnavailable, "the key server is sealed, or could not answer in time"}
	}
	return &failure{http.StatusInternalServerError, "the server could not do this"}
}

// gone is for a version that is destroyed, about to be, or was never there.
func gone(err error) *failure {
	if _, ok := errors.AsType[*keyserver.Denial](err); ok {
		return &failure{http.StatusGone, "the version of the key is gone, or is not for this"}
	}
	return &failure{http.StatusForbidden, "this can't be done now"}
}

// Fail writes an error.
func (d *door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	body, _ := json.Marshal(map[string]any{"status": f.status, "error": f.message}) // two scalars can't fail
	h := w.Header()
	switch f.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // whoever asked has gone
}
