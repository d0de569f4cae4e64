// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// endpoint serves a handler with TLS 1.3 under a fresh key.
func endpoint(t *testing.T, handler http.HandlerFunc) (*Direct, wire.Hash) {
	t.Helper()
	cert, hash, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = tlscert.ServerConfig(cert)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	d, err := NewDirect(server.Listener.Addr().String(), Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, hash
}

// message is a sealed message of the given type, as a carrier sees it.
func message(typ string) []byte {
	return wire.Marshal(wire.Sealed{Type: typ, Enc: make([]byte, 1120), CT: []byte("ct")})
}

func TestRoutes(t *testing.T) {
	d, hash := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(body[:min(1, len(body))]))
	})
	ctx := t.Context()
	in, err := d.Introduction(ctx)
	if err != nil || string(in) != "GET /v1/introduction  " {
		t.Fatalf("Introduction = %q, %v", in, err)
	}
	d.Pin(hash)
	cbor := string(message("x")[:1])
	for want, call := range map[string]func() ([]byte, error){
		"GET /v1/statement  ":                        func() ([]byte, error) { return d.Statement(ctx) },
		"POST /v1/exchange application/cbor " + cbor: func() ([]byte, error) { return d.Exchange(ctx, message(wire.TypeRequest)) },
		"POST /v1/enroll application/cbor " + cbor:   func() ([]byte, error) { return d.Exchange(ctx, message(wire.TypeEnroll)) },
		"POST /v1/use application/json {":            func() ([]byte, error) { return d.Call(ctx, "POST", "/v1/use", []byte("{}"), 100) },
		"GET /v1/keys  ":                             func() ([]byte, error) { return d.Call(ctx, "GET", "/v1/keys", nil, 100) },
	} {
		if got, err := call(); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if _, err := d.Exchange(ctx, []byte("no message")); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("Exchange of no message = %v", err)
	}
}

// TestPin: nothing is sent before a key is pinned, or to another key.
func TestPin(t *testing.T) {
	asked := 0
	d, hash := endpoint(t, func(http.ResponseWriter, *http.Request) { asked++ })
	ctx := t.Context()
	calls := []func() ([]byte, error){
		func() ([]byte, error) { return d.Statement(ctx) },
		func() ([]byte, error) { return d.Exchange(ctx, message(wire.TypeRequest)) },
		func() ([]byte, error) { return d.Call(ctx, "GET", "/v1/keys", nil, 100) },
	}
	for _, call := range calls {
		if _, err := call(); !errors.Is(err, ErrUnpinned) {
			t.Errorf("before Pin: %v", err)
		}
	}
	wrong := hash
	wrong[0]++
	d.Pin(wrong)
	for _, call := range calls {
		if _, err := call(); !errors.Is(err, tlscert.ErrPin) {
			t.Errorf("with another key: %v", err)
		}
	}
	d.Pin(hash)
	if _, err := d.Statement(ctx); err != nil {
		t.Error(err)
	}
	// A new pin must not be served by a connection to the old key.
	d.Pin(wrong)
	if _, err := d.Statement(ctx); !errors.Is(err, tlscert.ErrPin) {
		t.Errorf("after another Pin: %v", err)
	}
	if asked != 1 {
		t.Errorf("%d requests reached the server", asked)
	}
}

// TestIdentity: the certificate is shown behind the pin only, and the present one.
func TestIdentity(t *testing.T) {
	seen := make(chan []byte, 4)
	d, hash := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			seen <- nil
			return
		}
		seen <- r.TLS.PeerCertificates[0].Raw
	})
	first, _, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	current := &first
	d.options.Identity = func() (*tls.Certificate, error) { return current, nil }
	if _, err := d.Introduction(t.Context()); err != nil || <-seen != nil {
		t.Fatalf("a certificate was shown to a stranger, or %v", err)
	}
	d.Pin(hash)
	for _, want := range []*tls.Certificate{&first, &second} {
		current = want
		d.Refresh()
		if _, err := d.Statement(t.Context()); err != nil || !bytes.Equal(<-seen, want.Certificate[0]) {
			t.Errorf("another certificate was shown, or %v", err)
		}
	}
}

// TestHostileAnswers: bounded, not followed, not believed.
func TestHostileAnswers(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		check   func(error) bool
	}{
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 64<<10)
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, func(err error) bool { return errors.Is(err, errTooLarge) }},
		{"compressed", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				w.WriteHeader(http.StatusOK)
				return
			}
			w.WriteHeader(http.StatusTeapot)
		}, func(err error) bool { return statusOf(err) == http.StatusTeapot }},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				w.WriteHeader(http.StatusOK)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, func(err error) bool { return statusOf(err) == http.StatusTemporaryRedirect }},
		{"created", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
			func(err error) bool { return statusOf(err) == http.StatusCreated }},
		{"large header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) },
			func(err error) bool { return err != nil }},
		{"control characters", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":{"code":"refused\u001b[2J","message":"a\nb\u0007`+strings.Repeat("c", 400)+`"}}`)
		}, func(err error) bool {
			e, ok := errors.AsType[*Error](err)
			return ok && e.Code == "refused[2J" && strings.HasPrefix(e.Message, "abc") && len(e.Message) == 256
		}},
		{"long refusal", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write(make([]byte, 1<<20))
		}, func(err error) bool {
			e, ok := errors.AsType[*Error](err)
			return ok && e.Status == http.StatusConflict && e.Code == ""
		}},
		{"wait for ever", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "999999")
			w.WriteHeader(http.StatusTooManyRequests)
		}, func(err error) bool {
			e, ok := errors.AsType[*Error](err)
			return ok && e.RetryAfter == maxRetryAfter
		}},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			func(err error) bool { return err != nil && statusOf(err) == 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, hash := endpoint(t, tt.handler)
			d.Pin(hash)
			out, err := d.Statement(t.Context())
			if !tt.check(err) || out != nil {
				t.Errorf("Statement = %d bytes, %v", len(out), err)
			}
		})
	}
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// TestSlow: a server that answers nothing costs the timeout, or the caller's
// patience.
func TestSlow(t *testing.T) {
	stop := make(chan struct{})
	// It must not end when we hang up: an answer may overtake our close.
	d, hash := endpoint(t, func(http.ResponseWriter, *http.Request) { <-stop })
	defer close(stop)
	d.options.Timeout = 50 * time.Millisecond
	d.Pin(hash)
	if _, err := d.Statement(t.Context()); err == nil {
		t.Error("no timeout")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Statement(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProxyIsIgnored(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	d, hash := endpoint(t, func(http.ResponseWriter, *http.Request) {})
	d.Pin(hash)
	if _, err := d.Statement(t.Context()); err != nil {
		t.Error(err)
	}
	if transport := d.web.client.Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("a proxy is asked for") // the environment of loopback addresses is never asked
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "host", ":8443", "host:", "https://host:8443", "a:b:c"} {
		if _, err := NewDirect(bad, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"host:8443", "127.0.0.1:8443", "[::1]:8443"} {
		if d, err := NewDirect(good, Options{}); err != nil || d.Address() != good {
			t.Errorf("%q: %v", good, err)
		}
	}
}
