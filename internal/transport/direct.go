// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// Limits of what is read from a server, in bytes.
const (
	maxError  = 16 << 10
	maxHeader = 16 << 10
	maxAnswer = wire.MaxRelease + 2<<10 // a sealed release, or a sealed certificate chain
)

// DefaultTimeout bounds one exchange, connecting included.
const DefaultTimeout = 15 * time.Second

// ErrUnpinned means that a call needs a verified server and Pin was not called.
var ErrUnpinned = errors.New("server's TLS key is not known yet")

// Options of a Direct. The zero value works.
type Options struct {
	// Identity gives the client's certificate for the calls behind Pin, nil for
	// none. It is asked at each new connection, so that a renewed one is used.
	Identity func() (*tls.Certificate, error)
	// Timeout bounds one exchange; zero means DefaultTimeout.
	Timeout time.Duration
	// Dial replaces the network's dialer, for tests and unusual networks.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Direct is the native API of one address. It is safe for concurrent use.
type Direct struct {
	address string
	options Options

	mu     sync.Mutex
	pin    wire.Hash
	client *http.Client // speaks to the pinned key alone; nil before Pin
}

// NewDirect returns a Direct for host:port.
func NewDirect(address string, o Options) (*Direct, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("server address %q is not host:port", address)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return &Direct{address: address, options: o}, nil
}

// Address is the host:port that it was made for.
func (d *Direct) Address() string { return d.address }

// Introduction fetches the server's introduction over a connection that proves
// nothing and shows no client certificate.
func (d *Direct) Introduction(ctx context.Context) ([]byte, error) {
	// Security: nothing but public bytes go out and nothing that comes in is
	// believed, so this one connection may accept any key (T-08).
	anyone := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	client := d.newClient(anyone)
	defer client.CloseIdleConnections()
	return d.do(ctx, client, request{method: http.MethodGet, path: "/v1/introduction", limit: wire.MaxIntroduction})
}

// Pin makes every later call speak to the server with this TLS key, and to no
// other. Connections to an earlier one are closed.
func (d *Direct) Pin(key wire.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil && d.pin == key {
		return
	}
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
	config := tlscert.ClientConfig(key, nil)
	if d.options.Identity != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.options.Identity() }
	}
	d.pin, d.client = key, d.newClient(config)
}

// Refresh closes idle connections, so that the next call shows the certificate
// that Identity gives then.
func (d *Direct) Refresh() {
	if client, err := d.pinned(); err == nil {
		client.CloseIdleConnections()
	}
}

// Close closes idle connections.
func (d *Direct) Close() { d.Refresh() }

// Exchange sends a sealed message to where its outer type belongs and returns
// the sealed answer, of which nothing is verified.
func (d *Direct) Exchange(ctx context.Context, sealed []byte) ([]byte, error) {
	path, err := pathOf(sealed)
	if err != nil {
		return nil, err
	}
	client, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return d.do(ctx, client, request{method: http.MethodPost, path: path, body: sealed, kind: "application/cbor", limit: maxAnswer})
}

// pathOf finds the route of a sealed message.
func pathOf(sealed []byte) (string, error) {
	var outer wire.Sealed
	if err := wire.Unmarshal(sealed, &outer, wire.MaxSealedSize); err != nil {
		return "", fmt.Errorf("send message: %w", err)
	}
	if outer.Type == wire.TypeEnroll {
		return "/v1/enroll", nil
	}
	return "/v1/exchange", nil
}

// Statement fetches the server's newest signed statement, of which nothing is
// verified.
func (d *Direct) Statement(ctx context.Context) ([]byte, error) {
	client, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return d.do(ctx, client, request{method: http.MethodGet, path: "/v1/statement", limit: wire.MaxStatement})
}

// Call sends body, JSON or empty, to a route of the JSON API and returns at most
// limit bytes of answer.
func (d *Direct) Call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error) {
	client, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return d.do(ctx, client, request{method: method, path: path, body: body, kind: "application/json", limit: limit})
}

func (d *Direct) pinned() (*http.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == nil {
		return nil, ErrUnpinned
	}
	return d.client, nil
}

func (d *Direct) newClient(config *tls.Config) *http.Client {
	dial := d.options.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: d.options.Timeout}).DialContext
	}
	return &http.Client{
		Timeout: d.options.Timeout,
		Transport: &http.Transport{
			Proxy:       nil, // Security: an environment variable must not choose who carries this (T-64)
			DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: d.options.Timeout,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
			ResponseHeaderTimeout: d.options.Timeout, MaxResponseHeaderBytes: maxHeader,
			DisableCompression: true, // a small body must not grow
		},
		// Security: a redirect would take a request to an origin that was not
		// asked for (T-64).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type request struct {
	method, path, kind string
	body               []byte
	limit              int
}

func (d *Direct) do(ctx context.Context, client *http.Client, r request) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+d.address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", d.address, err)
	}
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", r.kind)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", d.address, bare(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, d.refusal(resp)
	}
	out, err := readAtMost(resp.Body, r.limit)
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", d.address, err)
	}
	return out, nil
}

// errTooLarge is an answer beyond its limit.
var errTooLarge = errors.New("answer is larger than any valid one")

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
