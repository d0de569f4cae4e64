// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway/doorcert"
	"claviger/internal/gateway/gatewaytest"
)

// post makes requests over one connection after the other until b is done.
func post(b *testing.B, c *http.Client, url string) {
	b.Helper()
	body := bytes.Repeat([]byte("x"), 256)
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if n, _ := io.Copy(io.Discard, resp.Body); n < 256 || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
		resp.Body.Close()
	}
}

// BenchmarkPort is what the port costs beside net/http alone, client included.
func BenchmarkPort(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		own, err := doorcert.Open(b.TempDir(), "", clock.System())
		if err != nil {
			b.Fatal(err)
		}
		cert, err := own.Get(nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{
			Handler:      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		}
		go srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}}))
		defer srv.Close()
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		post(b, &http.Client{Transport: tr}, "https://"+l.Addr().String()+"/echo/a")
	})
	b.Run("door", func(b *testing.B) {
		r := gatewaytest.New(b, &gatewaytest.Suite{Kind: toyKind(), Endpoint: authority.Endpoint{Name: "door", Kind: "toy"}})
		post(b, r.Client(nil), r.Base()+"/echo/a")
	})
}
