// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/doorcert"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
)

// Rig is a real key server with a real port of doors. Its methods fail the test.
type Rig struct {
	*keyservertest.Rig
	Suite    *Suite
	Endpoint authority.Endpoint // as it was set
	Gateway  *gateway.Server
	Doors    string // address of the port
	Roots    *x509.CertPool
	Kept     map[string]string // what a suite made for its cases

	disk    *disk
	log     *buffer
	metrics *prometheus.Registry
	client  *http.Client
	cert    *tls.Certificate
	kinds   gateway.Kinds
	own     *doorcert.Own

	mu      sync.Mutex
	secrets [][]byte
	errors  []Reply
}

// New serves a suite's door. The policy is left to the caller.
func New(t testing.TB, s *Suite) *Rig { return newRig(t, s, s.Kind) }

func newRig(t testing.TB, s *Suite, kind *gateway.Kind) *Rig {
	t.Helper()
	r := &Rig{Suite: s, Kept: map[string]string{}, disk: &disk{FS: audit.OS()}, log: &buffer{}, metrics: prometheus.NewRegistry(), kinds: gateway.Kinds{kind}}
	logger := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Rig = keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) {
		o.AuditFS, o.Logger = r.disk, logger
	}})
	r.Endpoint = s.Endpoint
	if s.Before != nil {
		s.Before(r, &r.Endpoint)
	}
	if err := r.kinds.Check(&r.Endpoint); err != nil {
		t.Fatal(err)
	}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: r.Endpoint})
	var err error
	if r.own, err = doorcert.Open(t.TempDir(), "", clock.System()); err != nil {
		t.Fatal(err)
	}
	r.Roots = x509.NewCertPool()
	r.Roots.AppendCertsFromPEM(r.own.PEM())
	r.open(logger)
	if s.Cert != nil {
		r.cert = s.Cert(r)
	}
	r.client = r.Client(r.cert)
	if s.After != nil {
		s.After(r)
	}
	t.Cleanup(func() { r.noSecrets(t) })
	return r
}

// open serves the port.
func (r *Rig) open(logger *slog.Logger) {
	r.T.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.T.Fatal(err)
	}
	r.Doors = l.Addr().String()
	r.Gateway = gateway.New(gateway.Options{
		Keys: r.Server.Server, Kinds: r.kinds, Certificate: r.own, Clock: clock.System(), Logger: logger, Metrics: r.metrics,
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Gateway.Serve(ctx, l) }()
	t := r.T
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the port of the doors ended: %v", err)
		}
	})
}

// Client makes an HTTP client that finds every host at the port, and trusts it.
func (r *Rig) Client(cert *tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: r.Roots}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	var d net.Dialer
	tr := &http.Transport{
		TLSClientConfig: config, MaxIdleConnsPerHost: 4,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, r.Doors)
		},
	}
	r.T.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Log is what server and doors have logged, line by line.
func (r *Rig) Log() string { return string(r.log.bytes()) }

// PEM is what a client trusts to trust the port.
func (r *Rig) PEM() []byte { return r.own.PEM() }

// Certificate is the client's; nil: it has none.
func (r *Rig) Certificate() *tls.Certificate { return r.cert }

// Base is the endpoint's URL.
func (r *Rig) Base() string {
	_, port, _ := net.SplitHostPort(r.Doors)
	if r.Endpoint.Host != "" {
		return "https://" + r.Endpoint.Host + ":" + port
	}
	return "https://localhost:" + port + "/" + r.Endpoint.Name
}

// NewRequest makes the signed HTTP request of a Request.
func (r *Rig) NewRequest(req Request, body io.Reader) *http.Request {
	r.T.Helper()
	out, err := http.NewRequestWithContext(r.T.Context(), req.Method, r.Base()+req.Path, body)
	if err != nil {
		r.T.Fatal(err)
	}
	for name, values := range req.Header {
		out.Header[name] = values
	}
	if len(req.Body) > 0 && out.Header.Get("Content-Type") == "" {
		out.Header.Set("Content-Type", "application/json")
	}
	if r.Suite.Sign != nil {
		r.Suite.Sign(r, out, req.Body)
	}
	return out
}

// Call makes a request as the suite does.
func (r *Rig) Call(c *Case, req Request) Reply {
	r.T.Helper()
	var reply Reply
	var err error
	if r.Suite.Call != nil {
		reply, err = r.Suite.Call(r, c, req)
	} else {
		reply, err = r.Send(r.client, r.NewRequest(req, bytes.NewReader(req.Body)))
	}
	if err != nil {
		r.T.Fatalf("%s: %v", c.Route, err)
	}
	return r.seen(reply)
}

// seen keeps errors, to look for secrets in them.
func (r *Rig) seen(reply Reply) Reply {
	if reply.Status >= 400 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errors = append(r.errors, reply)
	}
	return reply
}

// Send makes an HTTP request.
func (r *Rig) Send(c *http.Client, req *http.Request) (Reply, error) {
	resp, err := c.Do(req)
	if err != nil {
		return Reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Reply{resp.StatusCode, resp.Header, body}, err
}

// Canary makes 32 bytes that may stand in requests and answers, and in no log.
func (r *Rig) Canary() []byte {
	out := make([]byte, 32)
	rand.Read(out)
	r.Hide(out)
	return out
}

// Hide says of something that it is secret.
func (r *Rig) Hide(secret []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets = append(r.secrets, bytes.Clone(secret))
}

// noSecrets looks for them in logs, metrics and errors.
func (r *Rig) noSecrets(t testing.TB) {
	families, err := r.metrics.Gather()
	if err != nil {
		t.Error(err)
	}
	var metrics strings.Builder
	for _, f := range families {
		metrics.WriteString(f.String())
	}
	places := map[string][]byte{"the log": r.log.bytes(), "the metrics": []byte(metrics.String())}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs bytes.Buffer
	for _, reply := range r.errors {
		errs.Write(reply.Body)
		for name, values := range reply.Header {
			errs.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
		}
	}
	places["an error"] = errs.Bytes()
	for _, secret := range r.secrets {
		for _, form := range [][]byte{
			secret, []byte(hex.EncodeToString(secret)), []byte(base64.RawStdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)),
		} {
			for place, text := range places {
				if len(form) > 0 && bytes.Contains(text, form) {
					t.Errorf("a secret stands in %s", place)
				}
			}
		}
	}
}

func contains(body []byte, text string) bool { return bytes.Contains(body, []byte(text)) }

// buffer is a log that many write to.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

// disk is a file system on which no audit log can be written once it is full.
type disk struct {
	audit.FS
	full  atomic.Bool
	stall atomic.Pointer[chan struct{}] // nil: it doesn't
}

// Stall has every sync of the audit log wait until release is called.
func (r *Rig) Stall() (release func()) {
	stalled := make(chan struct{})
	r.disk.stall.Store(&stalled)
	return sync.OnceFunc(func() { r.disk.stall.Store(nil); close(stalled) })
}

var errFull = errors.New("no space left on device")

// Open opens a file that fails with the disk.
func (d *disk) Open(name string, create bool) (audit.File, error) {
	f, err := d.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

type file struct {
	audit.File
	disk *disk
}

// WriteAt fails on a full disk.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.full.Load() {
		return 0, errFull
	}
	return f.File.WriteAt(p, at)
}

// Sync fails on a full disk, and waits for one that has stalled.
func (f *file) Sync() error {
	if stalled := f.disk.stall.Load(); stalled != nil {
		<-*stalled
	}
	if f.disk.full.Load() {
		return errFull
	}
	return f.File.Sync()
}
