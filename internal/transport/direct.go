// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// maxAnswer bounds a sealed answer: a release, or a certificate chain.
const maxAnswer = wire.MaxRelease + 2<<10

// DefaultTimeout bounds one exchange, connecting included.
const DefaultTimeout = 15 * time.Second

// ErrUnpinned means that a call needs a verified server and Pin was not called.
var ErrUnpinned = errors.New("server's TLS key is not known yet")

// Options of a way to servers. The zero value works.
type Options struct {
	// Identity gives the client's certificate for the calls of a Direct behind
	// Pin, nil for none. It is asked at each new connection, so that a renewed one
	// is used. Relays and directories never see it.
	Identity func() (*tls.Certificate, error)
	// Timeout bounds one exchange; zero means DefaultTimeout.
	Timeout time.Duration
	// Dial replaces the network's dialer, for tests and unusual networks.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots replaces the system's certificate roots, for relays without a pin.
	Roots *x509.CertPool
	// Clock dates mailbox requests; nil means the system's.
	Clock clock.Clock
}

func (o Options) filled() Options {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return o
}

// Direct is the native API of one address. It is safe for concurrent use.
type Direct struct {
	address string
	options Options

	mu  sync.Mutex
	pin wire.Hash
	web *web // speaks to the pinned key alone; nil before Pin
}

// NewDirect returns a Direct for host:port.
func NewDirect(address string, o Options) (*Direct, error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if a.Kind != KindDirect {
		return nil, fmt.Errorf("%w: %q is not host:port", ErrAddress, address)
	}
	return &Direct{address: a.Host, options: o.filled()}, nil
}

// Address is the host:port that it was made for.
func (d *Direct) Address() string { return d.address }

// Introduction fetches the server's introduction over a connection that proves
// nothing and shows no client certificate.
func (d *Direct) Introduction(ctx context.Context) ([]byte, error) {
	// Security: nothing but public bytes go out and nothing that comes in is
	// believed, so this one connection may accept any key (T-08).
	anyone := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	w := newWeb(d.address, anyone, d.options)
	defer w.close()
	return w.do(ctx, request{method: http.MethodGet, path: "/v1/introduction", limit: wire.MaxIntroduction})
}

// Pin makes every later call speak to the server with this TLS key, and to no
// other. Idle connections to an earlier one are closed.
func (d *Direct) Pin(key wire.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.web != nil && d.pin == key {
		return
	}
	if d.web != nil {
		d.web.close()
	}
	config := tlscert.ClientConfig(key, nil)
	if d.options.Identity != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.options.Identity() }
	}
	d.pin, d.web = key, newWeb(d.address, config, d.options)
}

// Refresh closes idle connections, so that the next call shows the certificate
// that Identity gives then.
func (d *Direct) Refresh() {
	if w, err := d.pinned(); err == nil {
		w.close()
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
	w, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return w.do(ctx, request{method: http.MethodPost, path: path, body: sealed, kind: kindCBOR, limit: maxAnswer})
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
	w, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return w.do(ctx, request{method: http.MethodGet, path: "/v1/statement", limit: wire.MaxStatement})
}

// Follow yields the server's newest statement, then each new one as it is made,
// until the connection ends, with an error last. Nothing is verified.
func (d *Direct) Follow(ctx context.Context) iter.Seq2[[]byte, error] {
	w, err := d.pinned()
	if err != nil {
		return func(yield func([]byte, error) bool) { yield(nil, err) }
	}
	return w.frames(ctx, request{method: http.MethodGet, path: "/v1/follow", want: kindCBOR, limit: wire.MaxStatement})
}

// Call sends body, JSON or empty, to a route of the JSON API and returns at most
// limit bytes of answer.
func (d *Direct) Call(ctx context.Context, method, path string, body []byte, limit int) ([]byte, error) {
	w, err := d.pinned()
	if err != nil {
		return nil, err
	}
	return w.do(ctx, request{method: method, path: path, body: body, kind: kindJSON, limit: limit})
}

func (d *Direct) pinned() (*web, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.web == nil {
		return nil, ErrUnpinned
	}
	return d.web, nil
}
