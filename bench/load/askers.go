// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// raw is a connection that speaks just enough HTTP/1.1: a request that was made
// beforehand, an answer that says its length.
type raw struct {
	conn    net.Conn
	answers *bufio.Reader
	request []byte
	end     context.Context // what the connection's deadline was taken from
}

func dialRaw(ctx context.Context, t Target, u *url.URL) (asker, error) {
	dialer := &net.Dialer{}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		config := t.TLS.Clone()
		config.NextProtos = nil
		if config.ServerName == "" {
			config.ServerName = u.Hostname()
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", t.Method, u.RequestURI(), u.Host, t.ContentType, len(t.Body))
	if err := t.Header.Write(&request); err != nil {
		conn.Close()
		return nil, err
	}
	fmt.Fprintf(&request, "\r\n%s", t.Body)
	return &raw{conn: conn, answers: bufio.NewReader(conn), request: request.Bytes()}, nil
}

func (r *raw) close() { r.conn.Close() }

// grace is how long an answer may come after the plan's end.
const grace = 10 * time.Second

func (r *raw) ask(ctx context.Context) error {
	if r.end != ctx {
		r.end = ctx
		if at, ok := ctx.Deadline(); ok {
			if err := r.conn.SetDeadline(at.Add(grace)); err != nil {
				return err
			}
		}
	}
	if _, err := r.conn.Write(r.request); err != nil {
		return err
	}
	length, err := r.head()
	if err != nil {
		return err
	}
	_, err = r.answers.Discard(length)
	return err
}

// head reads up to the empty line and returns the length of what follows.
func (r *raw) head() (int, error) {
	length := -1
	for first := true; ; first = false {
		line, err := r.answers.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimSpace(line)
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return 0, fmt.Errorf("answer %q", line)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer without its length")
	}
	return length, nil
}

// client asks through net/http.
type client struct {
	target    Target
	transport *http.Transport
}

func newClient(t Target, connections int) *client {
	tr := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	if t.TLS != nil {
		tr.TLSClientConfig = t.TLS.Clone()
		tr.TLSClientConfig.NextProtos = nil // the transport offers what Protocols says
	}
	tr.Protocols = new(http.Protocols)
	if t.HTTP2 {
		tr.Protocols.SetHTTP2(true)
	} else {
		tr.Protocols.SetHTTP1(true)
	}
	return &client{target: t, transport: tr}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

func (c *client) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, c.target.Method, c.target.URL, bytes.NewReader(c.target.Body))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, c.target.Header)
	req.Header.Set("Content-Type", c.target.ContentType)
	if c.target.Sign != nil {
		c.target.Sign(req, c.target.Body)
	}
	answer, err := c.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", answer.Status)
	}
	return nil
}
