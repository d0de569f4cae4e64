// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"

	"claviger/internal/authn"
	"claviger/internal/strictjson"
)

// DecodeJSON reads the request's body, one JSON object, into v, as strictly as
// strictjson.DecodeForeign does; more says that the protocol may send members that
// v has no field for. Its errors are ErrBody, and tell nothing of the body.
func (r *Request) DecodeJSON(v any, more bool) error {
	if err := strictjson.DecodeForeign(r.Body, v, more); err != nil {
		// The decoder's own words may quote what came.
		return fmt.Errorf("%w: it is not the JSON object that this takes", ErrBody)
	}
	return nil
}

// NeedJSON fails with ErrMediaType unless the body says that it is JSON; nothing
// said is JSON too where lenient.
func (r *Request) NeedJSON(lenient bool) error {
	given := r.Header.Values("Content-Type")
	if len(given) == 0 && lenient {
		return nil
	}
	if len(given) != 1 {
		return ErrMediaType
	}
	kind, params, err := mime.ParseMediaType(given[0])
	if err != nil || kind != "application/json" || params["charset"] != "" && params["charset"] != "utf-8" && params["charset"] != "UTF-8" {
		return ErrMediaType
	}
	return nil
}

// Bearer is the one bearer token of the request's Authorization (RFC 6750, section
// 2.1). Its error is authn.ErrRefused.
func (r *Request) Bearer() (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 1 {
		if scheme, token, ok := strings.Cut(headers[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token), nil
		}
	}
	return "", fmt.Errorf("%w: there is no bearer token, or two", authn.ErrRefused)
}

// Base64 reads standard padded Base64 in its one form, of at most most bytes. Its
// error is ErrBody and names only what it was to be.
func Base64(what, text string, most int) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(most) {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrBody, what, most)
	}
	// Strict takes no stray bits at the end; line ends it would skip.
	out, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != base64.StdEncoding.EncodedLen(len(out)) || len(out) > most {
		return nil, fmt.Errorf("%w: %s is not standard Base64 of at most %d bytes", ErrBody, what, most)
	}
	return out, nil
}
