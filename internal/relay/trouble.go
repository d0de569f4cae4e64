// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// trouble is an error as a caller sees it. It is as unsigned as all that a relay
// says.
type trouble struct {
	status    int
	code      string
	message   string
	retryable bool
}

// Error returns the message.
func (t *trouble) Error() string { return t.message }

func refuse(status int, code, message string) error {
	return &trouble{status, code, message, status == http.StatusTooManyRequests || status >= 500}
}

// The answers that more than one place gives.
var (
	errNoRoute   = refuse(http.StatusNotFound, "not-found", "there is nothing here")
	errMalformed = refuse(http.StatusBadRequest, "malformed", "the message is malformed")
	errTooLarge  = refuse(http.StatusRequestEntityTooLarge, "too-large", "the message is larger than any valid one")
	errSlow      = refuse(http.StatusRequestTimeout, "slow", "the message came too slowly")
	errUnproved  = refuse(http.StatusUnauthorized, "unauthenticated", "the mailbox's key is not proved")
	errRefused   = refuse(http.StatusForbidden, "denied", "the board takes this from nobody, or not from this mailbox")
	errToken     = refuse(http.StatusForbidden, "token", "this send token doesn't open the mailbox")
	errStale     = refuse(http.StatusConflict, "refused", "the board has a newer one")
	errBusy      = refuse(http.StatusTooManyRequests, "busy", "too much at once; ask again")
	errFull      = refuse(http.StatusTooManyRequests, "full", "the quota is used up")
	errOffline   = refuse(http.StatusServiceUnavailable, "offline", "the server is not connected")
	errTimeout   = refuse(http.StatusGatewayTimeout, "timeout", "the server didn't answer in time")
)

// classify finds what a caller is told of an error. Causes are the operator's.
func classify(err error) *trouble {
	if t, ok := errors.AsType[*trouble](err); ok {
		return t
	}
	switch {
	case errors.Is(err, ErrQuota):
		return classify(errFull)
	case errors.Is(err, ErrNotFound):
		return classify(errNoRoute)
	case errors.Is(err, context.Canceled):
		return &trouble{http.StatusServiceUnavailable, "unavailable", "the relay is stopping, or you have gone", true}
	}
	return &trouble{http.StatusServiceUnavailable, "unavailable", "the relay can't do this now; its log says why", true}
}

// fail tells a caller. It says how long to wait where asking again can help.
func fail(w http.ResponseWriter, t *trouble) {
	if t.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, t.status, map[string]any{"error": map[string]any{"code": t.code, "message": t.message, "retryable": t.retryable}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has gone; nothing to tell it
}
