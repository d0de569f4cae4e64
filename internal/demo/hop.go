// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync/atomic"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// hop stands before the relay as somebody who has got hold of a relay might: it
// ends TLS, hands everything on, and changes one bit in each sealed answer.
type hop struct {
	listener net.Listener
	address  string // with its pin
	to       string // host:port of the relay
	onward   *http.Transport
	server   *http.Server
	changed  atomic.Int64 // answers
}

func openHop(to string, pin wire.Hash, clk clock.Clock) (*hop, error) {
	cert, spki, err := tlscert.SelfSigned(clk)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		return nil, fmt.Errorf("start the hop: %w", err)
	}
	return &hop{
		listener: l, address: relayAddress(l, spki), to: to,
		onward: &http.Transport{TLSClientConfig: tlscert.ClientConfig(pin, nil), ForceAttemptHTTP2: true},
		server: &http.Server{ReadHeaderTimeout: relayTimeout, TLSConfig: tlscert.ServerConfig(cert)},
	}, nil
}

// serve hands on until close.
func (h *hop) serve(logger *slog.Logger) error {
	complaints := slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	h.server.ErrorLog = complaints
	h.server.Handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", h.to // the Host header stays: proofs name it
		},
		Transport: h.onward, FlushInterval: -1, ModifyResponse: h.change, ErrorLog: complaints,
	}
	return unlessClosed(h.server.ServeTLS(h.listener, "", ""))
}

// close cuts everybody off.
func (h *hop) close() {
	h.server.Close()
	h.listener.Close() // if it has never served
	h.onward.CloseIdleConnections()
}

// change flips one bit in the middle of a sealed answer.
func (h *hop) change(resp *http.Response) error {
	if !strings.HasSuffix(resp.Request.URL.Path, "/exchange") || resp.StatusCode != http.StatusOK {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxSealedSize))
	resp.Body.Close()
	if err != nil || len(answer) == 0 {
		return fmt.Errorf("read the answer: %w", err)
	}
	answer[len(answer)/2] ^= 1
	h.changed.Add(1)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
	resp.Header.Set("Content-Length", strconv.Itoa(len(answer)))
	return nil
}
