// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/pkitest"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// cbor answers with a body that says it is CBOR.
func cbor(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kindCBOR)
		_, _ = w.Write(body)
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", kindCBOR)
	for chunk := make([]byte, 64<<10); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// TestHostileRelay: whatever a relay answers is bounded and comes as an error or
// as bytes that nobody believes.
func TestHostileRelay(t *testing.T) {
	many := make([][]byte, wire.MaxBoardServers+1)
	for i := range many {
		many[i] = []byte{1}
	}
	exchange := func(r *Relay) error {
		_, err := r.Exchange(t.Context(), Peer{Mailbox: wire.Hash{1}}, message(wire.TypeRequest))
		return err
	}
	statements := func(r *Relay) error { _, err := r.Statements(t.Context()); return err }
	put := func(r *Relay) error { return r.As(NewMailbox()).PutStatement(t.Context(), []byte("s")) }
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		call    func(*Relay) error
		check   func(error) bool
	}{
		{"endless answer", endless, exchange, is(errTooLarge)},
		{"endless list", endless, statements, is(errTooLarge)},
		{"endless success", endless, put, is(errTooLarge)},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("a redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, exchange, func(err error) bool { return statusOf(err) == http.StatusTemporaryRedirect }},
		{"a page for people", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in first") }, exchange, is(errForeign)},
		{"no list", cbor([]byte("no CBOR")), statements, is(wire.ErrMalformed)},
		{"another shape", cbor(wire.Marshal(map[string]int{"a": 1})), statements, is(wire.ErrMalformed)},
		{"trailing bytes", cbor(append(wire.Marshal([][]byte{}), 0)), statements, is(wire.ErrMalformed)},
		{"too many servers", cbor(wire.Marshal(many)), statements, is(errTooLarge)},
		{"nothing where there should be an answer", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, exchange,
			func(err error) bool { return statusOf(err) == http.StatusNoContent }},
		{"large header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) }, exchange,
			func(err error) bool { return err != nil && statusOf(err) == 0 }},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, exchange,
			func(err error) bool { return err != nil && statusOf(err) == 0 }},
		{"another's answer", cbor(message(wire.TypeStatement)), exchange, is(nil)}, // bytes; no seal of ours opens them
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(relayAt(t, serveTLS(t, tt.handler))); !tt.check(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestHostileStream: the same for streams of a relay.
func TestHostileStream(t *testing.T) {
	huge := binary.BigEndian.AppendUint32(nil, wire.MaxDelivery+1)
	half := AppendFrame(nil, make([]byte, 100))[:50]
	good := AppendFrame(nil, wire.Marshal(wire.Delivery{Correlation: make([]byte, 32), Data: []byte("d")}))
	tests := []struct {
		name    string
		handler http.HandlerFunc
		heard   int
		check   func(error) bool
	}{
		{"huge frame", cbor(huge), 0, func(err error) bool { return errors.Is(err, ErrFrame) }},
		{"half a frame", cbor(half), 0, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"no delivery", cbor(AppendFrame(nil, []byte("no delivery"))), 0, func(err error) bool { return errors.Is(err, wire.ErrMalformed) }},
		{"neither request nor parcel", cbor(AppendFrame(nil, wire.Marshal(wire.Delivery{Data: []byte("d")}))), 0,
			func(err error) bool { return errors.Is(err, wire.ErrMalformed) }},
		{"the same twice, then the end", cbor(append(append([]byte{}, good...), good...)), 2, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"a page for people", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, 0,
			func(err error) bool { return errors.Is(err, errForeign) }},
		{"refusal", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, 0,
			func(err error) bool { return statusOf(err) == http.StatusTooManyRequests }},
		{"empty frames alone", cbor(make([]byte, 400)), 0, func(err error) bool { return errors.Is(err, io.EOF) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			heard, last := 0, error(nil)
			for d, err := range relayAt(t, serveTLS(t, tt.handler)).As(NewMailbox()).Receive(t.Context()) {
				if last = err; err == nil && string(d.Data) == "d" {
					heard++
				}
			}
			if heard != tt.heard || !tt.check(last) {
				t.Errorf("%d deliveries, then %v", heard, last)
			}
		})
	}
}

// TestRelayIdentity: a pin admits one key, no pin the system's roots and the right
// name, and nothing else gets a request.
func TestRelayIdentity(t *testing.T) {
	asked := 0
	a := serveTLS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	call := func(a Address, o Options) error {
		r, err := NewRelay(a, domain, o)
		must(t, err)
		defer r.Close()
		_, err = r.Statements(t.Context())
		return err
	}
	wrong := a
	wrong.Pin[0]++
	if err := call(wrong, Options{}); !errors.Is(err, tlscert.ErrPin) {
		t.Errorf("another key: %v", err)
	}
	open := a
	open.Pin = wire.Hash{}
	if err := call(open, Options{}); asked != 0 || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("no root knows it: %v", err)
	}
	if err := call(a, Options{}); asked != 1 || !errors.Is(err, errForeign) {
		t.Errorf("the pinned key: asked %d times, %v", asked, err)
	}
}

// TestRelayByRoots: without a pin a certificate of a trusted CA counts, for the
// name that was asked for.
func TestRelayByRoots(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	config := relayAt(t, Address{Kind: KindRelay, Host: "relay.example:8444"}).web.client.Transport.(*http.Transport).TLSClientConfig
	if config.InsecureSkipVerify || config.ServerName != "relay.example" || config.MinVersion != tls.VersionTLS13 {
		t.Errorf("%+v", config)
	}
	r, err := NewRelay(Address{Kind: KindRelay, Host: "[::1]:8444"}, domain, Options{Roots: pool})
	must(t, err)
	config = r.web.client.Transport.(*http.Transport).TLSClientConfig
	if config.RootCAs != pool || config.ServerName != "::1" {
		t.Errorf("%+v", config)
	}
}

func TestRelayIgnoresProxy(t *testing.T) {
	_, r := newDouble(t)
	if r.web.client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is asked for")
	}
}

// pipes is a listener of connections in memory, so that time can be the bubble's.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// inBubble runs a test against a relay whose time is a bubble's.
func inBubble(t *testing.T, handler http.HandlerFunc, test func(*testing.T, *Relay)) {
	synctest.Test(t, func(t *testing.T) {
		cert, pin, err := tlscert.SelfSigned(clock.Process())
		must(t, err)
		p := pipes{make(chan net.Conn)}
		server := &http.Server{Handler: handler}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = server.Serve(tls.NewListener(p, tlscert.ServerConfig(cert))) }()
		r, err := NewRelay(Address{Kind: KindRelay, Host: "relay:1", Pin: pin}, domain, Options{
			Clock: clock.Process(), Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				p.conns <- theirs
				return ours, nil
			},
		})
		must(t, err)
		test(t, r)
		r.Close()
		close(p.conns)
		_ = server.Close()
		<-ended
	})
}

// TestSilence: a line on which nothing is heard is given up after 45 s, also one
// that brings a byte now and then; one that says it is alive is not.
func TestSilence(t *testing.T) {
	every := func(pause time.Duration, begin string, chunk ...byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kindCBOR)
			rc := http.NewResponseController(w)
			_, _ = io.WriteString(w, begin)
			_ = rc.Flush()
			for r.Context().Err() == nil {
				sleep(r.Context(), pause)
				_, _ = w.Write(chunk)
				_ = rc.Flush()
			}
		}
	}
	follow := func(t *testing.T, r *Relay, patience time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		start := time.Now()
		var last error
		for _, err := range r.Follow(ctx) {
			last = err
		}
		return time.Since(start), last
	}
	for name, handler := range map[string]http.HandlerFunc{"silent": every(time.Hour, ""), "trickles": every(10*time.Second, "\x00\x00\x01\x00", 0)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, handler, func(t *testing.T, r *Relay) {
				if took, err := follow(t, r, time.Hour); !errors.Is(err, errSilent) || took < maxSilence || took > maxSilence+time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
	t.Run("alive", func(t *testing.T) {
		inBubble(t, every(15*time.Second, "", 0, 0, 0, 0), func(t *testing.T, r *Relay) {
			if took, err := follow(t, r, time.Hour); !errors.Is(err, context.DeadlineExceeded) || took < time.Hour {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
}

// TestSlowConsumer: who takes long over one message doesn't lose the line.
func TestSlowConsumer(t *testing.T) {
	two := AppendFrame(AppendFrame(nil, []byte("one")), []byte("two"))
	inBubble(t, cbor(two), func(t *testing.T, r *Relay) {
		var heard []string
		for s, err := range r.Follow(t.Context()) {
			if err == nil {
				heard = append(heard, string(s))
				sleep(t.Context(), time.Hour)
			}
		}
		if len(heard) != 2 {
			t.Errorf("heard %q", heard)
		}
	})
}

// TestSlowRelay: an answer that trickles in, or doesn't begin, costs the timeout.
func TestSlowRelay(t *testing.T) {
	for name, begin := range map[string]bool{"body": true, "header": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or the server doesn't see that we hang up
				w.Header().Set("Content-Type", kindCBOR)
				for r.Context().Err() == nil {
					if begin {
						_, _ = w.Write([]byte{0})
						_ = http.NewResponseController(w).Flush()
					}
					sleep(r.Context(), time.Second)
				}
				panic(http.ErrAbortHandler) // an orderly end would be an answer that came in time
			}, func(t *testing.T, r *Relay) {
				start := time.Now()
				_, err := r.Exchange(t.Context(), Peer{Mailbox: wire.Hash{1}}, message(wire.TypeRequest))
				if took := time.Since(start); err == nil || took > DefaultTimeout+answerGrace {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}
