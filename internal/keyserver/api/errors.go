// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"claviger/internal/audit"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// apiError is the unsigned error of the API.
type apiError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// classify maps an error to a status and a code.
func classify(err error) (int, apiError) {
	message := err.Error()
	switch {
	case errors.Is(err, errNoRoute), errors.Is(err, keyserver.ErrNotFound):
		return http.StatusNotFound, apiError{"not-found", message, false}
	case errors.Is(err, keyserver.ErrSealed):
		return http.StatusServiceUnavailable, apiError{"sealed", keyserver.ErrSealed.Error() + "; someone has to unseal it: claviger unseal", true}
	case errors.Is(err, keyserver.ErrUnproved):
		return http.StatusUnauthorized, apiError{"unauthenticated", message, false}
	case errors.Is(err, keyserver.ErrDenied):
		return http.StatusForbidden, apiError{"denied", message, false}
	case errors.Is(err, keyserver.ErrRefused):
		return http.StatusConflict, apiError{"refused", without("refused: ", message), false}
	case errors.Is(err, errTooSlow):
		return http.StatusRequestTimeout, apiError{"too-slow", message, true}
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge, apiError{"too-large", message, false}
	case errors.Is(err, keyserver.ErrBusy), errors.Is(err, audit.ErrBusy):
		return http.StatusTooManyRequests, apiError{"busy", message, true}
	case errors.Is(err, keyserver.ErrMalformed), errors.Is(err, wire.ErrMalformed):
		return http.StatusBadRequest, apiError{"malformed", message, false}
	case errors.Is(err, keyserver.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		// Paths and causes are the operator's, not the caller's.
		return http.StatusServiceUnavailable, apiError{"unavailable", "the server can't answer now; its log says why", true}
	}
	return http.StatusInternalServerError, apiError{"internal", "the server could not do this; its log says why", true}
}

// without cuts a prefix off, however often it is there: each package that refuses
// says so, and so does the code beside the message.
func without(prefix, message string) string {
	for {
		rest, found := strings.CutPrefix(message, prefix)
		if !found {
			return message
		}
		message = rest
	}
}

// troubleOf is the same error for a sender who isn't at the API.
func troubleOf(err error) wire.Trouble {
	status, e := classify(err)
	t := wire.Trouble{Type: wire.TypeTrouble, Status: uint16(status), Code: e.Code, Message: e.Message[:min(len(e.Message), 256)]}
	if status == http.StatusTooManyRequests {
		t.RetryAfter = 1
	}
	return t
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	status, e := classify(err)
	if e.Code == "internal" || errors.Is(err, keyserver.ErrUnavailable) {
		s.logger.Error("Request failed", "error", err)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, map[string]any{"error": e})
}

// writeJSON answers with a value that encodes. The length is said, so that no
// answer is cut into chunks.
func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("api: an answer that has no JSON form: " + err.Error())
	}
	write(w, "application/json", status, append(data, '\n'))
}

func writeCBOR(w http.ResponseWriter, data []byte) error {
	write(w, "application/cbor", http.StatusOK, data)
	return nil
}

func write(w http.ResponseWriter, kind string, status int, data []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client has gone; nothing to tell it
}
