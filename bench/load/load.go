// SPDX-License-Identifier: Apache-2.0

// Package load asks a server over and over and says how long the answers took.
//
// In a closed loop each connection asks again when it has its answer: it finds out
// how much a server can do, and hides how long requests would have waited. In an
// open loop requests come at a rate of their own, whether or not the earlier ones
// were answered, as from many independent clients; the time of each counts from
// when it was due, so that a server's pause is seen by every request that fell
// into it.
//
// A closed loop over HTTP/1.1 writes requests made beforehand and reads no more of
// the answer than its length: the generator shares the machine with the server,
// and net/http's client costs as much as its server. Open loops and HTTP/2 go
// through net/http.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Target is what is asked.
type Target struct {
	URL         string
	Method      string // default POST
	Body        []byte
	ContentType string      // default application/json
	Header      http.Header // more, such as a token
	TLS         *tls.Config // with the client's certificate; nil for http
	HTTP2       bool
	// Sign changes each request just before it is sent; then closed loops go through
	// net/http too.
	Sign func(r *http.Request, body []byte)
}

// Plan says how it is asked.
type Plan struct {
	Connections int
	Duration    time.Duration
	Warmup      time.Duration // before anything is noted
	Rate        float64       // requests a second in an open loop; 0 for a closed one
}

// Result is what came of it. Only answers with status 200 are noted in Times.
type Result struct {
	Times   Histogram
	Errors  uint64
	First   error // of the errors, the first
	Elapsed time.Duration
}

// PerSecond is the rate of good answers.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Times.Count()) / r.Elapsed.Seconds()
}

// asker sends one request and reads its answer.
type asker interface {
	ask(ctx context.Context) error
	close()
}

// Run carries out a plan. It returns an error if no connection can be made or the
// plan makes no sense; failed requests are counted in the result.
func Run(ctx context.Context, t Target, p Plan) (*Result, error) {
	if p.Connections < 1 || p.Duration <= 0 || p.Rate < 0 {
		return nil, errors.New("a plan needs connections and a duration, and no negative rate")
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	if t.Method == "" {
		t.Method = "POST"
	}
	if t.ContentType == "" {
		t.ContentType = "application/json"
	}
	if p.Rate > 0 {
		return open(ctx, t, p)
	}
	askers := make([]asker, 0, p.Connections)
	defer func() {
		for _, a := range askers {
			a.close()
		}
	}()
	for range p.Connections {
		a, err := t.connect(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		askers = append(askers, a)
	}
	return closed(ctx, askers, p)
}

func (t Target) connect(ctx context.Context, u *url.URL) (asker, error) {
	if t.HTTP2 || t.Sign != nil {
		return newClient(t, 1), nil
	}
	return dialRaw(ctx, t, u)
}
