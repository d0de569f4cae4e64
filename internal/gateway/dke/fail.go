// SPDX-License-Identifier: Apache-2.0

package dke

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
)

// failure is a status, and a few words for whoever reads logs: Office shows none.
type failure struct {
	status  int
	message string
}

func (f *failure) Error() string { return f.message }

func invalid(message string) *failure { return &failure{http.StatusBadRequest, message} }

// failureOf gives the statuses of Microsoft's sample: 400 for whatever is wrong with
// the key or the input, 401 with a challenge, 403 for who may not.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch gateway.FailureOf(err) {
	case gateway.Malformed, gateway.MediaType:
		return invalid("the request is malformed, or its ciphertext is not of this key")
	case gateway.Unauthenticated:
		return &failure{http.StatusUnauthorized, "a bearer token of a trusted issuer is needed"}
	case gateway.Denied, gateway.Revoked:
		return &failure{http.StatusForbidden, "policy does not permit it"}
	case gateway.KeyOff:
		return &failure{http.StatusForbidden, "the key is disabled"}
	case gateway.EndpointOff:
		return &failure{http.StatusForbidden, "the endpoint is switched off"}
	case gateway.KeyState, gateway.Refused:
		return invalid("the key or its version is not in a state for this")
	case gateway.NoRoute:
		return &failure{http.StatusNotFound, "there is no such path"}
	case gateway.NoMethod:
		return &failure{http.StatusMethodNotAllowed, "this is not done with this method"}
	case gateway.TooLarge:
		return &failure{http.StatusRequestEntityTooLarge, "the request is too large"}
	case gateway.TooMany, gateway.Busy:
		return &failure{http.StatusTooManyRequests, "too many requests"}
	case gateway.TooSlow, gateway.Unavailable, gateway.Sealed:
		return &failure{http.StatusServiceUnavailable, "the key server is sealed, or could not answer in time"}
	}
	return &failure{http.StatusInternalServerError, "the server could not do this"}
}

// Fail writes an error, and with 401 the challenge that Office looks for.
func (d *door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	h := w.Header()
	switch f.status {
	case http.StatusUnauthorized:
		d.challenge(h)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", "GET, POST")
	}
	body, _ := json.Marshal(map[string]any{"status": f.status, "error": f.message}) // two scalars can't fail
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // whoever asked has gone
}

// challenge says where a token is to be had and for what, as the sample does: in
// one header, and the same in two of their own.
func (d *door) challenge(h http.Header) {
	authority, resource := d.site.Option(optionAuthority), d.audience
	if authority == "" {
		authority = defaultAuthority
	}
	h.Set("WWW-Authenticate", `Bearer resource="`+resource+`", authorization="`+authority+`", realm="`+resource+`"`)
	h.Set("resource", resource)
	h.Set("authorization", authority)
}
