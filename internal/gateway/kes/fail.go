// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

// failure is an error of KES: a status and a text, which clients compare.
type failure struct {
	status  int
	message string
}

// Error is the text that the client gets.
func (f failure) Error() string { return f.message }

var noKey = failure{http.StatusNotFound, "key does not exist"}

// Fail writes an error as KES does.
func (d *door) Fail(w http.ResponseWriter, _ *http.Request, err error) {
	f, ok := errors.AsType[failure](err)
	if !ok {
		f = failureOf(err)
	}
	body, _ := json.Marshal(struct { // two strings always have a JSON form
		Message string `json:"message"`
	}{f.message})
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // the client has gone; nothing to tell it
}

// failureOf is how KES, or a server beside it, says each failure. It has no words
// for keys that are disabled: those who may use a key are told.
func failureOf(err error) failure {
	if d, ok := errors.AsType[*keyserver.Denial](err); ok && d.Cause == keyserver.CauseAbsent {
		return noKey // policy permits the client any key of such a name
	}
	switch gateway.FailureOf(err) {
	case gateway.Malformed:
		return failure{http.StatusBadRequest, "invalid request body"}
	case gateway.Unauthenticated:
		return failure{http.StatusBadRequest, "tls: client certificate is required"}
	case gateway.Denied, gateway.Revoked:
		return failure{http.StatusForbidden, "not authorized: insufficient permissions"}
	case gateway.KeyOff:
		return failure{http.StatusForbidden, "not authorized: key is disabled"}
	case gateway.KeyState:
		return failure{http.StatusForbidden, "not authorized: the key's state forbids this"}
	case gateway.EndpointOff:
		return failure{http.StatusServiceUnavailable, "this endpoint is disabled"}
	case gateway.Refused:
		return failure{http.StatusConflict, "the key's state does not permit this"}
	case gateway.NoRoute:
		return failure{http.StatusNotFound, "not found"}
	case gateway.NoMethod:
		return failure{http.StatusMethodNotAllowed, "method not allowed"}
	case gateway.MediaType:
		return failure{http.StatusUnsupportedMediaType, "unsupported content type"}
	case gateway.TooLarge:
		return failure{http.StatusRequestEntityTooLarge, "request body too large"}
	case gateway.TooSlow:
		return failure{http.StatusRequestTimeout, "request timed out"}
	case gateway.TooMany, gateway.Busy:
		return failure{http.StatusTooManyRequests, "too many requests"}
	case gateway.Unavailable:
		return failure{http.StatusBadGateway, "key store is unavailable"}
	case gateway.Sealed:
		return failure{http.StatusServiceUnavailable, "key store is sealed"}
	}
	return failure{http.StatusInternalServerError, "internal error"}
}
