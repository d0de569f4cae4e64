// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// exchange is one request and its answer, for the log and the counters.
type exchange struct {
	http.ResponseWriter
	start  time.Duration
	door   *mounted    // nil: none was found
	sealed bool        // the server is
	route  string      // "" if none was found
	in     int         // bytes of the body
	known  atomic.Bool // a caller that is no stranger was heard
	notes  []slog.Attr
	status int // 0 until the header is written
	err    error
}

// WriteHeader remembers the status.
func (e *exchange) WriteHeader(status int) {
	if e.status == 0 && status >= 200 {
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write writes a header first, as every ResponseWriter does.
func (e *exchange) Write(p []byte) (int, error) {
	if e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	return e.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach deadlines.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// send writes an answer. The length is said, so that none is cut into chunks.
func (e *exchange) send(a *Response) {
	h := e.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	e.WriteHeader(status)
	if len(a.Body) > 0 {
		_, _ = e.Write(a.Body) // whoever asked has gone; nothing to tell it
	}
}

// finish counts the request and writes its line: never a body, a header, a path
// or a query.
func (s *Server) finish(e *exchange, r *http.Request) {
	took := s.watch.Boot() - e.start
	kind, endpoint, route := "", "", e.route
	if e.door != nil {
		kind, endpoint = e.door.kind.Name, e.door.site.Endpoint.Name
	}
	failure := Failures
	if e.err != nil {
		failure = FailureOf(e.err)
	}
	if failure == Internal && e.status >= 400 && e.status < 500 {
		failure = Refused // the door's own error, which is about the request
	}
	s.meter.count(kind, route, failure, took)
	if e.door == nil {
		// A line each would let strangers fill the disk.
		s.o.Logger.Debug("No such door", "status", e.status, "from", r.RemoteAddr)
		return
	}
	// Security: so would lines at doors whose names are known (T-90).
	if !e.known.Load() && !s.lines.take(1) {
		s.unwritten.Add(1)
		return
	}
	attrs := []slog.Attr{
		slog.String("kind", kind), slog.String("endpoint", endpoint), slog.String("operation", route),
		slog.Int("status", e.status), slog.Int64("took_us", took.Microseconds()), slog.Int("bytes", e.in), slog.String("from", r.RemoteAddr),
	}
	attrs = append(attrs, e.notes...)
	if n := s.unwritten.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("strangers_left_out", n))
	}
	level := slog.LevelInfo
	if e.err != nil {
		attrs = append(attrs, slog.String("failure", failure.String()), slog.String("error", printable(e.err.Error(), 512)))
		if failure == Internal || failure == Unavailable {
			level = slog.LevelError
		}
	}
	s.o.Logger.LogAttrs(r.Context(), level, "Door", attrs...)
}
