// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/clientcert"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
)

// decided answers every Do with one error.
type decided struct{ err error }

func (d *decided) With(context.Context, func(context.Context, *keyserver.Core) error) error {
	return d.err
}

// holder is the caller of a certificate that it made itself.
func holder(t *testing.T) *authn.Caller {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientcert.Caller("door", "kes", &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{cert}}, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestStrangersRate: who shows nothing, or a certificate of his own making, uses up
// a tenth of an endpoint's rate and none of what the others have.
func TestStrangersRate(t *testing.T) {
	const rate = 100
	keys := &decided{}
	open := func(kind *Kind, roots ...[]byte) *mounted {
		clk := clock.NewManual(time.Unix(0, 0))
		m := &mounted{
			server: New(Options{Keys: keys, Clock: clk}), kind: kind, rate: newBucket(clk, rate, 0),
			state: &authority.EndpointState{Endpoint: authority.Endpoint{ClientCAs: roots}},
		}
		m.others = newStrangers(clk, m.rate)
		return m
	}
	use := &keyserver.Use{}
	try := func(m *mounted, c *authn.Caller, op keyserver.Op, err error) int {
		t.Helper()
		keys.err = err
		for n := range 2 * rate {
			if _, got := m.do(t.Context(), c, op); errors.Is(got, ErrRate) {
				return n
			} else if !errors.Is(got, err) {
				t.Fatal(got)
			}
		}
		return 2 * rate
	}
	certificates, tokens := &Kind{Name: "kes", NeedsClientCert: true}, &Kind{Name: "dke"}
	friend := holder(t)

	m := open(certificates)
	if _, err := m.do(t.Context(), friend, use); err != nil { // policy permits it something
		t.Fatal(err)
	}
	n := 0
	for range 20 {
		n += try(m, holder(t), use, keyserver.ErrDenied)
	}
	if n != rate/10-1 {
		t.Errorf("strangers were heard %d times", n)
	}
	if n := try(m, friend, use, nil); n != rate {
		t.Errorf("who is known was heard %d times", n)
	}

	m = open(certificates)
	lister := holder(t)
	if n := try(m, lister, &keyserver.List{}, nil); n != 1 || m.others.knows(lister) {
		t.Errorf("%d lists, and it is known: %v", n, m.others.knows(lister))
	}
	m.others.permitted(lister, &keyserver.UseAll{})
	if m.others.knows(lister) {
		t.Error("many uses at once are no permission")
	}

	if n := try(open(certificates, []byte("a root")), holder(t), use, keyserver.ErrDenied); n != rate {
		t.Errorf("a certificate of a CA was heard %d times", n)
	}
	m = open(tokens)
	if n := try(m, authn.Anyone("door", "dke"), use, nil); n != rate/10 {
		t.Errorf("anyone was heard %d times", n)
	}
	if n := try(m, friend, use, nil); n != rate {
		t.Errorf("beside anyone, a caller was heard %d times", n)
	}

	m = open(certificates)
	for range maxKnown + 1 {
		m.others.permitted(&authn.Caller{ID: rand.Text()}, use)
	}
	if len(m.others.known) > maxKnown {
		t.Error("who is known is remembered without end")
	}
}

// untouched fails a test that reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// TestFirst: of a stranger's large body nothing is read, and it takes no room.
func TestFirst(t *testing.T) {
	m := &mounted{server: New(Options{Keys: &decided{}, Clock: clock.System()}), kind: &Kind{}, state: &authority.EndpointState{}}
	asked := 0
	route := &Route{
		Limit: 32 << 20, Deadline: time.Minute,
		First:  func(_ context.Context, r *Request) error { asked++; return authn.ErrRefused },
		Handle: func(_ context.Context, r *Request) (*Response, error) { return &Response{Body: r.Body}, nil },
	}
	for _, length := range []int64{large + 1, 32 << 20, -1} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", untouched{t})
		r.ContentLength = length
		if err := m.run(&exchange{ResponseWriter: httptest.NewRecorder()}, r, route); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	if m.server.bodies.left != maxBodies || asked != 3 {
		t.Errorf("%d bytes are taken, asked %d times", maxBodies-m.server.bodies.left, asked)
	}
	for body, want := range map[string]int{"small": 3, string(make([]byte, large+1)): 4} {
		route.First = func(context.Context, *Request) error { asked++; return nil }
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.NopCloser(io.LimitReader(zeros{}, int64(len(body)))))
		r.ContentLength = int64(len(body))
		before, w := asked, httptest.NewRecorder()
		if err := m.run(&exchange{ResponseWriter: w}, r, route); err != nil || w.Body.Len() != len(body) || asked-before != want-3 {
			t.Errorf("%d bytes: %v, %d came back, asked %d times", len(body), err, w.Body.Len(), asked-before)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestStrangersFillNoLog: what strangers ask at a door whose name is known leaves so
// many lines a second and no more; those of callers are all written.
func TestStrangersFillNoLog(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{Keys: &decided{}, Clock: clock.System(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	clk := clock.NewManual(time.Unix(0, 0))
	s.lines = newBucket(clk, strangerLines, 0)
	m := &mounted{server: s, kind: &Kind{Name: "kes"}, state: &authority.EndpointState{}, rate: newBucket(clk, 1000, 0)}
	m.others = newStrangers(clk, m.rate)
	lines := func(n int, c *authn.Caller) int {
		log.Reset()
		for range n {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			e := &exchange{ResponseWriter: httptest.NewRecorder(), door: m}
			if c != nil {
				if _, err := m.do(context.WithValue(r.Context(), exchangeKey{}, e), c, &keyserver.Use{}); err != nil {
					t.Fatal(err)
				}
			}
			s.finish(e, r)
		}
		return strings.Count(log.String(), "msg=Door")
	}
	if n := lines(3*strangerLines, nil); n != strangerLines {
		t.Errorf("%d lines about strangers", n)
	}
	if n := lines(3, authn.Anyone("door", "dke")); n != 0 {
		t.Errorf("%d lines about anyone", n)
	}
	if n := lines(2*strangerLines, holder(t)); n != 2*strangerLines {
		t.Errorf("%d lines about a caller", n)
	}
	if !strings.Contains(log.String(), "strangers_left_out=203") {
		t.Error("nobody learns how many lines are missing")
	}
	clk.Advance(time.Second)
	if n := lines(1, nil); n != 1 {
		t.Error("silent for good")
	}
}
