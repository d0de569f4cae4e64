// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Door speaks one foreign protocol for one endpoint. It is made anew when the
// endpoint's record changes, and serves many requests at once.
type Door interface {
	// Routes are all that the door answers.
	Routes() []Route
	// Fail writes an error as the protocol does. It gets errors of this package, of
	// keyserver, of authn and the door's own; FailureOf sorts all but the last. It
	// writes no secret and nothing of an error that FailureOf calls Internal or
	// Unavailable.
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// Route is one operation of a door.
type Route struct {
	Name     string        // of the operation, for logs, metrics and tests: a word of [a-z0-9-]
	Method   string        // one, or several separated by a space; GET answers HEAD too
	Path     string        // pattern of net/http below the endpoint's base, without method and host
	Limit    int64         // bytes of the body at most; 0: it has none
	Deadline time.Duration // for the whole request, its body included; 0: DefaultDeadline
	Handle   func(ctx context.Context, r *Request) (*Response, error)

	// First, if there is one, judges a request whose body is large, or of no length
	// that is said, before any of the body is read: r has none. It is for routes that
	// take so much that a few strangers would fill the room of all bodies.
	First func(ctx context.Context, r *Request) error
}

// large is a body of which little is kept at once: from here on, First is asked.
const large = 64 << 10

// DefaultDeadline of a route that says nothing.
const DefaultDeadline = 15 * time.Second

// Request is a request whose body has come.
type Request struct {
	*http.Request
	Body []byte // whole, at most the route's Limit
	Base string // URL of the endpoint as this caller reached it, without a slash at the end

	notes []slog.Attr
}

// Note adds to the request's line in the access log what the protocol has that
// finds it again: its own request id, the foreign principal, the key's name.
// Never a body, token, plaintext or key. Texts are cut at 256 bytes.
func (r *Request) Note(name, text string) {
	const most, long = 8, 256
	if len(r.notes) < most {
		r.notes = append(r.notes, slog.String(name, printable(text, long)))
	}
}

// Response is what a handler answers.
type Response struct {
	Status int         // 0: 200
	Header http.Header // nil: none of its own
	Body   []byte
	Secret bool // Body is wiped once it is written
}
