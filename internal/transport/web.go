// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"time"
)

// Limits of what is read from a server or relay, in bytes.
const (
	maxError  = 16 << 10
	maxHeader = 16 << 10
)

// maxSilence is how long a stream may take from one frame to the end of the next,
// empty ones included, before it is given up.
const maxSilence = 45 * time.Second

const (
	kindCBOR = "application/cbor"
	kindJSON = "application/json"
)

// web is an HTTPS client for one origin.
type web struct {
	host    string // host:port
	client  *http.Client
	timeout time.Duration // of one answer, connecting included
}

func newWeb(host string, config *tls.Config, o Options) *web {
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: o.Timeout}).DialContext
	}
	return &web{host: host, timeout: o.Timeout, client: &http.Client{
		Transport: &http.Transport{
			Proxy:       nil, // Security: an environment variable must not choose who carries this (T-64)
			DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: o.Timeout,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
			ResponseHeaderTimeout: o.Timeout, MaxResponseHeaderBytes: maxHeader,
			DisableCompression: true, // a small body must not grow
			HTTP2:              &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		},
		// Security: a redirect would take a request to an origin that was not
		// asked for (T-64).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// close closes idle connections.
func (w *web) close() { w.client.CloseIdleConnections() }

// request is one question.
type request struct {
	method, path string
	kind         string // of the body
	want         string // the answer's content type; "": any
	header       [2]string
	body         []byte
	limit        int // bytes of the answer, or of each frame
}

// do asks and reads the whole answer. Whoever answers with anything but a
// success is quoted in an [Error].
func (w *web) do(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	resp, err := w.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out, err := readAtMost(resp.Body, r.limit)
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", w.host, err)
	}
	return out, nil
}

// open asks and returns a success whose body is to be read and closed.
func (w *web) open(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+w.host+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", w.host, err)
	}
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", r.kind)
	}
	if r.header[0] != "" {
		req.Header.Set(r.header[0], r.header[1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", w.host, bare(err))
	}
	if resp.StatusCode != http.StatusOK && (resp.StatusCode != http.StatusNoContent || r.limit > 0) {
		defer resp.Body.Close()
		return nil, refusal(w.host, resp)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); r.want != "" && (err != nil || kind != r.want) {
		resp.Body.Close()
		return nil, fmt.Errorf("ask %s: %w: it is no %s", w.host, errForeign, r.want)
	}
	return resp, nil
}

// frames asks for a stream and yields its messages until it ends, always with an
// error last. A consumer may take its time with each.
func (w *web) frames(ctx context.Context, r request) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		// Security: the whole frame must have come by then, so that nobody keeps
		// the line by a byte now and then.
		watch := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
		defer watch.Stop()
		resp, err := w.open(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		for {
			message, err := ReadFrame(resp.Body, r.limit)
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, fmt.Errorf("follow %s: %w", w.host, err))
				return
			}
			watch.Stop()
			if len(message) > 0 && !yield(message, nil) {
				return
			}
			watch.Reset(maxSilence)
		}
	}
}

var (
	errTooLarge = errors.New("answer is larger than any valid one")
	errForeign  = errors.New("answer is not Claviger's")
	errSilent   = errors.New("nothing was heard for too long")
)

func readAtMost(r io.Reader, limit int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(out) > limit {
		return nil, errTooLarge
	}
	return out, nil
}
