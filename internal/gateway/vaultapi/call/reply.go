// SPDX-License-Identifier: Apache-2.0

package call

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// Reply is an answer in Vault's envelope. A nil one, or one with nothing in it, is
// 204 without a body.
type Reply struct {
	Status   int             // 0: 200
	Data     any             // what stands under "data"
	Raw      json.RawMessage // instead of Data: JSON that is there already; wiped where Secret
	Auth     any             // what stands under "auth"
	Top      map[string]any  // what a few calls repeat beside "data"
	Bare     any             // instead of all that: an answer without the envelope
	Warnings []string
	Secret   bool // the answer holds a secret: its bytes are wiped once they are sent
}

type envelope struct {
	RequestID     string          `json:"request_id"`
	LeaseID       string          `json:"lease_id"`
	Renewable     bool            `json:"renewable"`
	LeaseDuration int64           `json:"lease_duration"`
	Data          json.RawMessage `json:"data"`
	WrapInfo      *struct{}       `json:"wrap_info"`
	Warnings      []string        `json:"warnings"`
	Auth          any             `json:"auth"`
}

// Response is the answer as the gateway sends it.
func (r *Reply) Response() (*gateway.Response, error) {
	if r == nil || r.Status == 0 && r.Data == nil && r.Raw == nil && r.Auth == nil && r.Bare == nil && r.Warnings == nil {
		return &gateway.Response{Status: http.StatusNoContent}, nil
	}
	header := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	body, err := r.body()
	if err != nil {
		return nil, fmt.Errorf("%w: an answer that is no JSON", gateway.ErrInternal)
	}
	return &gateway.Response{Status: r.Status, Header: header, Body: body, Secret: r.Secret}, nil
}

func (r *Reply) body() (body []byte, err error) {
	if r.Bare != nil {
		body, err = json.Marshal(r.Bare)
		return append(body, '\n'), err
	}
	data := r.Raw
	if data == nil {
		if data, err = json.Marshal(r.Data); err != nil {
			return nil, err
		}
	}
	if r.Secret {
		defer secret.Wipe(data)
	}
	// The data is put in by hand: json.Marshal would check and copy it again, and
	// leave what it copied in a pool.
	head, err := json.Marshal(envelope{RequestID: newID(), Data: json.RawMessage("0"), Warnings: r.Warnings, Auth: r.Auth})
	if err != nil {
		return nil, err
	}
	at := cutData(head)
	extra := []byte(nil)
	for name, v := range r.Top {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		extra = append(strconv.AppendQuote(append(extra, ','), name), ':')
		extra = append(extra, text...)
	}
	body = make([]byte, 0, len(head)+len(data)+len(extra)+1)
	body = append(append(append(body, head[:at]...), data...), head[at+1:len(head)-1]...)
	return append(append(body, extra...), '}', '\n'), nil
}

// cutData finds the 0 that stands for the data: everything before it is of this
// package's making.
func cutData(head []byte) int {
	const mark = `"data":`
	for i := 0; i+len(mark) < len(head); i++ {
		if string(head[i:i+len(mark)]) == mark {
			return i + len(mark)
		}
	}
	panic("call: an envelope without data")
}

// newID is a random UUID, as Vault's request ids are.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Error is a failure in Vault's words.
type Error struct {
	Status int
	Texts  []string // of fixed words; never what came, but for short names
	cause  error
}

// Error joins the words.
func (e *Error) Error() string {
	if len(e.Texts) > 0 {
		return e.Texts[0]
	}
	return http.StatusText(e.Status)
}

// Unwrap sorts the error for the gateway's log.
func (e *Error) Unwrap() error { return e.cause }

// Bad is 400, with Vault's text.
func Bad(text string) *Error {
	return &Error{Status: http.StatusBadRequest, Texts: []string{text}, cause: gateway.ErrBody}
}

// Badf is Bad with a format. Nothing that came goes into it but numbers and names.
func Badf(format string, args ...any) *Error { return Bad(fmt.Sprintf(format, args...)) }

// Because is e with the error behind it, for the log.
func (e *Error) Because(err error) *Error { return &Error{e.Status, e.Texts, err} }

// Missing is 404 without a word: what Vault says of what isn't there.
func Missing() *Error {
	return &Error{Status: http.StatusNotFound, Texts: []string{}, cause: gateway.ErrNotFound}
}

// Denied is 403.
func Denied(err error) *Error {
	return &Error{Status: http.StatusForbidden, Texts: []string{"permission denied"}, cause: err}
}

// words are what a failure is in Vault's API.
func words(f gateway.Failure) (status int, text string) {
	switch f {
	case gateway.Malformed:
		return http.StatusBadRequest, "invalid request"
	case gateway.Unauthenticated, gateway.Denied, gateway.Revoked, gateway.EndpointOff:
		return http.StatusForbidden, "permission denied"
	case gateway.KeyOff:
		return http.StatusBadRequest, "the key is disabled"
	case gateway.KeyState:
		return http.StatusBadRequest, "the key, or this version of it, is not for this"
	case gateway.Refused:
		return http.StatusBadRequest, "this can't be done in the present state"
	case gateway.NoRoute:
		return http.StatusNotFound, "1 error occurred:\n\t* unsupported path\n\n"
	case gateway.NoMethod:
		return http.StatusMethodNotAllowed, "1 error occurred:\n\t* unsupported operation\n\n"
	case gateway.MediaType:
		return http.StatusUnsupportedMediaType, "unsupported content type"
	case gateway.TooLarge:
		return http.StatusRequestEntityTooLarge, "http: request body too large"
	case gateway.TooSlow:
		return http.StatusRequestTimeout, "context deadline exceeded"
	case gateway.TooMany, gateway.Busy:
		return http.StatusTooManyRequests, "rate limit quota exceeded"
	case gateway.Sealed:
		return http.StatusServiceUnavailable, "Vault is sealed"
	}
	return http.StatusInternalServerError, "internal error"
}

// Fail writes an error as Vault does.
func Fail(w http.ResponseWriter, err error) {
	status, text := words(gateway.FailureOf(err))
	texts := []string{text}
	if e, ok := errors.AsType[*Error](err); ok {
		status, texts = e.Status, e.Texts
	}
	body, _ := json.Marshal(struct {
		Errors []string `json:"errors"`
	}{texts}) // strings always encode
	WriteResponse(w, &gateway.Response{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: append(body, '\n')})
}

// WriteResponse writes an answer where a handler can't.
func WriteResponse(w http.ResponseWriter, a *gateway.Response) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // whoever asked has gone; nothing to tell it
}
