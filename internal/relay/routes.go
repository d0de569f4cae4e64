// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"claviger/internal/relay/bounds"
	"claviger/internal/relay/ring"
	"claviger/internal/wire"
)

// who may use a route.
type who int

const (
	anyone who = iota
	owner      // the mailbox that the path names
	server     // a mailbox; the route's handler asks the board whether it is a server's
)

// route is one operation.
type route struct {
	name   string // in metrics and in the ring
	method string
	path   string // parts in braces are parameters
	who    who
	limit  int // bytes of the body; 0: none is taken
	handle func(*Front, *call) error
}

// call is one request on its way through.
type call struct {
	w        http.ResponseWriter
	r        *http.Request
	from     string // address, without port
	domain   wire.DomainID
	mailbox  wire.Hash // that the path names
	number   uint64
	caller   wire.Hash // mailbox that signed
	audience string    // that it signed for: one of this relay's addresses
	body     []byte
	seen     *ring.Passed
	answered bool // something was written
}

// routes is all that can be asked (docs/spec/relay.md, section 3).
func routes() []route {
	return []route{
		{"health", http.MethodGet, "/v1/health", anyone, 0, (*Front).health},
		{"put-introduction", http.MethodPut, "/v1/board/{domain}/introduction", server, wire.MaxIntroduction, (*Front).putIntroduction},
		{"put-statement", http.MethodPut, "/v1/board/{domain}/statement", server, wire.MaxStatement, (*Front).putStatement},
		{"introductions", http.MethodGet, "/v1/board/{domain}/introductions", anyone, 0, (*Front).introductions},
		{"statements", http.MethodGet, "/v1/board/{domain}/statements", anyone, 0, (*Front).statements},
		{"follow", http.MethodGet, "/v1/board/{domain}/follow", anyone, 0, (*Front).follow},
		{"put-tokens", http.MethodPut, "/v1/mailbox/{mailbox}/tokens", owner, maxTokensBody, (*Front).putTokens},
		{"receive", http.MethodGet, "/v1/mailbox/{mailbox}/receive", owner, 0, (*Front).receive},
		{"exchange", http.MethodPost, "/v1/mailbox/{mailbox}/exchange", anyone, wire.MaxSealedSize, (*Front).exchange},
		{"answer", http.MethodPost, "/v1/answer/{correlation}", anyone, wire.MaxSealedSize, (*Front).answer},
		{"put-parcel", http.MethodPut, "/v1/board/{domain}/parcels/{mailbox}", server, maxParcelBody, (*Front).putParcel},
		{"delete-parcel", http.MethodDelete, "/v1/mailbox/{mailbox}/parcels/{number}", owner, 0, (*Front).deleteParcel},
	}
}

// ServeHTTP serves one request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, from: addressOf(r.RemoteAddr)}
	c.seen = &ring.Passed{At: f.o.Clock.Now().UTC(), Address: c.from, What: "none"}
	began := f.o.Clock.Boot()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	err := f.serve(c)
	c.seen.Status = http.StatusOK
	if !c.answered {
		// One that is left from an earlier answer on this connection, or from the
		// time before a long wait, would cut this one.
		_ = http.NewResponseController(w).SetWriteDeadline(f.real.Now().Add(f.silence)) // fails only where the answer will
	}
	if err != nil {
		t := classify(err)
		c.seen.Status = t.status
		if t.code == "unavailable" && r.Context().Err() == nil {
			f.o.Logger.Error("Request failed", "route", c.seen.What, "error", err)
		}
		if !c.answered {
			fail(w, t)
		}
	} else if !c.answered {
		w.WriteHeader(http.StatusNoContent)
	}
	f.metrics.request(c.seen.What, c.seen.Status, f.o.Clock.Boot()-began)
	if c.seen.What != "health" && c.seen.What != "none" {
		f.ring.Add(*c.seen)
	}
}

// serve finds the route and does what all have in common.
func (f *Front) serve(c *call) error {
	deadline := http.NewResponseController(c.w)
	if err := deadline.SetReadDeadline(f.real.Now().Add(f.silence)); err != nil {
		return err
	}
	from := bounds.Place(c.r.RemoteAddr)
	if !f.rates.Take(from, f.o.Clock.Boot()) {
		return errBusy
	}
	t, err := f.find(c)
	if err != nil {
		return err
	}
	c.seen.What = t.name
	if t.who != anyone {
		p, err := f.prove(c.r)
		if err != nil {
			return err
		}
		if t.who == owner && p.mailbox != c.mailbox {
			return errUnproved
		}
		c.caller, c.audience = p.mailbox, p.audience
		if err := f.read(c, t.limit); err != nil {
			return err
		}
		if wire.BodyDigest(c.body) != p.body {
			return errUnproved
		}
	}
	return t.handle(f, c)
}

// read reads the body within the caller's share of what is read at once.
func (f *Front) read(c *call, limit int) (err error) {
	if limit == 0 {
		if c.r.ContentLength != 0 {
			return errTooLarge
		}
		return noDeadline(http.NewResponseController(c.w))
	}
	from := bounds.Place(c.r.RemoteAddr)
	if !f.bodies.Enter(from) {
		return errBusy
	}
	defer f.bodies.Leave(from)
	c.body, err = f.body(c.w, c.r, limit)
	c.seen.Size = len(c.body)
	return err
}

// find matches method and path. Whether a domain is served is said here, so that
// no route forgets it.
func (f *Front) find(c *call) (*route, error) {
	if len(c.r.URL.Path) > 512 || c.r.URL.EscapedPath() != c.r.URL.Path {
		return nil, errNoRoute
	}
	parts := strings.Split(c.r.URL.Path, "/")
	known := false
	for i := range f.routes {
		t := &f.routes[i]
		ok, err := f.match(c, strings.Split(t.path, "/"), parts)
		if !ok {
			continue
		}
		known = true
		if t.method == c.r.Method {
			return t, err
		}
	}
	if known {
		return nil, refuse(http.StatusMethodNotAllowed, "method", "this is not asked with that method")
	}
	return nil, errNoRoute
}

// match reports whether a path has a route's form, and with an error that what
// it names can't be.
func (f *Front) match(c *call, want, have []string) (bool, error) {
	if len(want) != len(have) {
		return false, nil
	}
	var err error
	for i, w := range want {
		if !strings.HasPrefix(w, "{") {
			if w != have[i] {
				return false, nil
			}
			continue
		}
		if !f.parameter(c, w, have[i]) {
			err = errNoRoute
		}
	}
	return true, err
}

func (f *Front) parameter(c *call, name, text string) (ok bool) {
	switch name {
	case "{domain}":
		var h wire.Hash
		if h, ok = parseHash(text); ok {
			c.domain = wire.DomainID(h)
			ok = f.boards.serves(c.domain)
		}
	case "{mailbox}", "{correlation}":
		if c.mailbox, ok = parseHash(text); ok && name == "{mailbox}" {
			c.seen.Mailbox = text
		}
	case "{number}":
		c.number, ok = parseNumber(text)
	}
	return ok
}

// write answers with CBOR, its length ahead: then answer and end are one write.
func (c *call) write(f *Front, data []byte) error {
	c.answered = true
	c.w.Header().Set("Content-Type", "application/cbor")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	return f.slowly(c.w, data)
}

// slowly writes to a caller that has to keep taking.
func (f *Front) slowly(w http.ResponseWriter, data []byte) error {
	const piece = 16 << 10
	c := http.NewResponseController(w)
	end := f.real.Now().Add(wholeMessage)
	for len(data) > 0 {
		now := f.real.Now()
		next := now.Add(f.silence)
		if next.After(end) {
			next = end
		}
		if err := c.SetWriteDeadline(next); err != nil {
			return err
		}
		n := min(len(data), piece)
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (f *Front) health(c *call) error {
	if f.o.Healthy != nil {
		if err := f.o.Healthy(); err != nil {
			return err
		}
	}
	c.answered = true
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "status": "ok"})
	return nil
}

// addressOf is an address without its port.
func addressOf(remote string) string {
	if p := bounds.Place(remote); p.IsValid() && p.Addr().Is4() {
		return p.Addr().String()
	} else if p.IsValid() {
		return p.String()
	}
	return ""
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

func noDeadline(c *http.ResponseController) error { return c.SetReadDeadline(time.Time{}) }
