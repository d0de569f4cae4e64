// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"claviger/internal/clock"
)

const (
	probeWithin = 10 * time.Second
	maxProbed   = 1 << 20 // bytes of an answer
)

// Client makes an HTTP client that dials the target whatever a URL says, follows no
// redirects, and shows cert if it is not nil. The caller ends it with done.
func (t ProbeTarget) Client(cert *tls.Certificate) (c *http.Client, done func()) {
	config := t.TLS.Clone()
	if cert != nil {
		// Not Certificates: with that, a certificate whose CA the server doesn't name
		// would silently not be sent.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	var d net.Dialer
	tr := &http.Transport{
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, t.Address)
		},
	}
	return &http.Client{
		Transport: tr, Timeout: probeWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, tr.CloseIdleConnections
}

// Ask makes a request and reads the answer, of a size that probes take.
func Ask(c *http.Client, r *http.Request) (status int, body []byte, err error) {
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxProbed))
	return resp.StatusCode, body, err
}

// Step runs one step of a probe and takes its time.
func Step(name string, f func() (note string, err error)) Check {
	watch := clock.Process()
	note, err := f()
	return Check{Name: name, Note: note, Err: err, Latency: watch.Boot()}
}
