// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"claviger/internal/gateway"
)

// origin is the page that a browser says it asks for: "" for none, and false for one
// that may not.
func (d *door) origin(r *http.Request) (string, bool) {
	given := r.Header.Values("Origin")
	if len(given) == 0 {
		return "", true
	}
	return given[0], len(given) == 1 && slices.Contains(d.origins, given[0])
}

// shared are the headers that let a page read an answer (the Fetch standard's CORS
// protocol): of an origin that may, and of no other.
func (d *door) shared(r *http.Request) http.Header {
	h := http.Header{"Vary": {"Origin"}}
	if origin, ok := d.origin(r); ok && origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	return h
}

// maxAsked bounds the list of headers that a page wants to send.
const maxAsked = 256

// preflight answers a browser that asks whether a page may ask.
func (d *door) preflight(_ context.Context, r *gateway.Request) (*gateway.Response, error) {
	origin, ok := d.origin(r.Request)
	if !ok || origin == "" {
		return nil, errOrigin()
	}
	h := d.shared(r.Request)
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Max-Age", "3600")
	asked := r.Header.Get("Access-Control-Request-Headers")
	// No cookie and no header of a browser's own is a credential here: a page may send
	// what it likes.
	if asked != "" && len(asked) <= maxAsked && !strings.ContainsFunc(asked, notInList) {
		h.Set("Access-Control-Allow-Headers", asked)
	} else {
		h.Set("Access-Control-Allow-Headers", "Content-Type")
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	return &gateway.Response{Status: http.StatusNoContent, Header: h}, nil
}

func errOrigin() *failure { return forbidden("pages of this origin may not ask") }

// notInList reports what stands in no list of header names.
func notInList(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == ',' || c == ' ')
}
